"""The measurements of `examples/deep.py`: signal and gradient before training, and training."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

from examples.common.outcome import Data, Experiment
from examples.flow.deep import Reach, measure
from examples.lm.compare import frequency_perplexity, train_all
from examples.lm.corpus import Corpus, load_corpus
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run
from examples.lm.sampling import consecutive
from examples.lm.settings import Settings

CELLS = ("rnn", "gru", "lstm")
DEPTHS = {
    "1 layer": (1, "normal"),
    "2 layers": (2, "normal"),
    "6 layers": (6, "normal"),
    "6 layers, Xavier": (6, "xavier"),
}


def run(options: argparse.Namespace) -> None:
    """Measure signal and gradient before training, train, and write the results."""
    cells = ("rnn",) if options.quick else CELLS
    corpus = load_corpus("default", options.max_chars)
    source = f"{len(corpus.text)} characters of the default lyrics, {len(corpus.vocabulary)} different ones"
    experiment = Experiment("deep", options, Data(source))
    base = replace(
        settings_of(build_parser().parse_args([])),
        epochs=options.epochs, hidden=options.hidden, seed=options.seed, batch_size=8, steps=15, device="cpu",
    )  # fmt: skip
    variants = {
        f"{cell}, {name}": replace(base, cell=cell, layers=layers, init=init, backend=options.backend)
        for cell in cells
        for name, (layers, init) in DEPTHS.items()
    }
    reach = {name: look(settings, corpus) for name, settings in variants.items()}
    runs = train_all(variants, corpus)
    frequencies = frequency_perplexity(corpus)
    experiment.finish(
        results={
            "perplexity": {name: run.perplexity for name, run in runs.items()},
            "reach": {name: found._asdict() for name, found in reach.items()},
            "frequencies": frequencies,
        },
        table=[
            {
                "model": name,
                "backend": run.settings.backend,
                "perplexity": run.perplexity[-1],
                "perplexity of frequencies": frequencies,
                "signal at the top": reach[name].signal[-1].item(),
                "gradient of the top layer": reach[name].weights[-1].item(),
                "gradient of the bottom layer": reach[name].weights[0].item(),
                "gradient of the output bias": reach[name].head,
            }
            for name, run in runs.items()
        ],
        conclusion=_conclude(runs, reach, cells, frequencies, options.hidden),
    )


def look(settings: Settings, corpus: Corpus) -> Reach:
    """Measure signal and gradient in the layers of an untrained model on the first minibatch."""
    inputs, labels = next(consecutive(corpus.ids, settings.batch_size, settings.steps))
    return measure(Run(settings, corpus).model, inputs, labels)


def _conclude(
    runs: Mapping[str, Run], reach: Mapping[str, Reach], cells: Sequence[str], frequencies: float, hidden: int
) -> str:
    last = {name: run.perplexity[-1] for name, run in runs.items()}
    by_cell = []
    for cell in cells:
        reached = [f"{last[f'{cell}, {name}']:.4g} with {name}" for name in DEPTHS]
        by_cell.append(f"{cell}: {', '.join(reached)}")
    learnt = {cell: _epoch_below(runs[f"{cell}, 6 layers"].perplexity, 0.9 * frequencies) for cell in cells}
    stuck = ", ".join(
        f"{cell} {'for all epochs' if at is None else f'until epoch {at}'}" for cell, at in learnt.items()
    )
    plain, xavier = reach["rnn, 6 layers"], reach["rnn, 6 layers, Xavier"]
    return (
        f"Character frequencies alone give a perplexity of {frequencies:.4g}. After training: {'; '.join(by_cell)}. "
        f"Before training, a plain layer passes on {(plain.signal[-1] / plain.signal[0]) ** 0.2:.3f} of its input and "
        f"{(plain.gradient[0] / plain.gradient[-1]) ** 0.2:.3f} of the gradient (0.01 sqrt({hidden}) is {0.01 * hidden**0.5:.3f}), "
        f"so that the gradient of the bottom layer's weights is {plain.weights[0] / plain.head:.0e} of that of the output bias; "
        f"with Xavier it is {xavier.weights[0] / xavier.head:.0e}. While only the bias trains, six plain layers learn "
        f"the frequencies and no more: {stuck}."
    )


def _epoch_below(curve: Sequence[float], level: float) -> int | None:
    """Return the first epoch with a perplexity below `level`, or None."""
    return next((epoch for epoch, perplexity in enumerate(curve, start=1) if perplexity < level), None)
