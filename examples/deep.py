"""Why six recurrent layers do not train: the language model with 1, 2 and 6 layers, and the signal and gradient in each.

    python examples/deep.py --out out/deep
    python examples/deep.py --quick

The published model initialises its weights from N(0, 0.01^2). A layer of H units then scales its input, and the gradient on
the way back, by about 0.01 sqrt(H): with six layers almost no signal reaches the top and almost no gradient the bottom. Only
the bias of the output layer still trains, because its gradient passes through no recurrent layer, and it can only learn the
character frequencies. The perplexity falls to that of the frequencies and stays there for a long time. With recurrent weights
of variance 1 / H (Glorot) signal and gradient pass through the same six layers, and they train.

The text is shorter and the net narrower than in lyrics.py (use --layers 6 there for full size); all other settings are
the published ones.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.program import program
from examples.flow.deep import Reach, measure
from examples.lm.compare import frequency_perplexity, train_all
from examples.lm.corpus import Corpus, load_corpus
from examples.lm.options import build_parser, comparison_parser, settings_of
from examples.lm.plots import draw_curves
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


@program("deep.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure signal and gradient before training, train, and write the results."""
    options = comparison_parser(
        __doc__,
        {"epochs": 100, "hidden": 48, "max_chars": 1200},
        out="deep",
        quick="the plain RNN, 24 units, 45 epochs, 500 characters",
        small={"epochs": 45, "hidden": 24, "max_chars": 500},
    ).parse_args(arguments)
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
        figures={
            "deep.png": _draw_curves(runs, cells, frequencies),
            "why.png": _draw_reach(reach, cells, options.hidden),
        },
        conclusion=_conclude(runs, reach, cells, frequencies, options.hidden),
    )


def look(settings: Settings, corpus: Corpus) -> Reach:
    """Measure signal and gradient in the layers of an untrained model on the first minibatch."""
    inputs, labels = next(consecutive(corpus.ids, settings.batch_size, settings.steps))
    return measure(Run(settings, corpus).model, inputs, labels)


def _draw_curves(runs: Mapping[str, Run], cells: Sequence[str], frequencies: float) -> Figure:
    figure = new_figure(5 * len(cells) + 2, 5)
    for axes, cell in zip(figure.subplots(1, len(cells), sharey=True, squeeze=False).flat, cells, strict=True):
        draw_curves(axes, {name: runs[f"{cell}, {name}"].perplexity for name in DEPTHS}, cell, frequencies)
    return figure


def _draw_reach(reach: Mapping[str, Reach], cells: Sequence[str], hidden: int) -> Figure:
    """Plot signal and gradient by layer, and the plain RNN's gradient by layer and time, before training."""
    figure = new_figure(12, 9)
    (signal, gradient), maps = figure.subplots(2, 2)
    for number, cell in enumerate(cells):
        for name, style in (("6 layers", "o-"), ("6 layers, Xavier", "s--")):
            found = reach[f"{cell}, {name}"]
            signal.semilogy(range(1, 7), found.signal, style, color=f"C{number}", label=f"{cell}, {name}")
            gradient.semilogy(range(1, 7), found.gradient, style, color=f"C{number}", label=f"{cell}, {name}")
    plain = reach["rnn, 6 layers"]
    gain = 0.01 * hidden**0.5
    theory = f"0.01 sqrt({hidden}) a layer"
    signal.semilogy(range(1, 7), [plain.signal[0] * gain**k for k in range(6)], "k:", label=theory)
    gradient.semilogy(range(1, 7), [plain.gradient[-1] * gain**k for k in range(5, -1, -1)], "k:", label=theory)
    signal.set_ylabel("root mean square of a layer's output")
    gradient.set_ylabel("gradient norm of the loss by a layer's output")
    for axes in (signal, gradient):
        axes.set_xlabel("layer, from the input up")
        axes.grid(visible=True, alpha=0.3)
    signal.set_title("forward signal, before training")
    gradient.set_title("backward gradient, before training")
    signal.legend(fontsize="small", loc="lower left")
    for axes, name in zip(maps, ("6 layers", "6 layers, Xavier"), strict=True):
        back = reach[f"rnn, {name}"].back.clamp(min=1e-30).log10()
        back[-1, 1:] = math.nan  # earlier outputs of the top layer do not affect the last score
        steps = len(back[0])
        extent = (-0.5, steps - 0.5, 0.5, 6.5)
        image = axes.imshow(back.numpy(), origin="lower", aspect="auto", vmin=-12, vmax=0, extent=extent)
        axes.set_title(f"rnn, {name}: gradient of the last step's loss")
        axes.set_xlabel("steps back")
        axes.set_ylabel("layer, from the input up")
        figure.colorbar(image, ax=axes, label="log10 of its norm")
    return figure


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


if __name__ == "__main__":
    sys.exit(main())
