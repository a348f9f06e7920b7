"""The measurements of `examples/cells.py`: every cell with both sampling methods."""

import argparse
from dataclasses import replace

from examples.common.argument_types import resolve_device
from examples.common.outcome import Data, Experiment
from examples.common.tables import Row
from examples.lm.compare import frequency_perplexity, train_all
from examples.lm.corpus import load_corpus
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run
from examples.lm.settings import Settings

CELLS = ("rnn", "gru", "gru-before", "lstm")
SAMPLINGS = ("consecutive", "random")
BANDS = {  # perplexity after 160 epochs on the published text
    "gru, consecutive": (1.38, 1.55),
    "gru-before, consecutive": (1.6, 2.0),
    "lstm, consecutive": (3.6, 4.4),
}


def run(options: argparse.Namespace) -> None:
    """Train every cell with both sampling methods and write the comparison."""
    base = settings_of(build_parser().parse_args([]))
    if options.quick:
        base = replace(base, batch_size=8, steps=10)
    corpus = load_corpus(options.corpus, options.max_chars)
    source = f"{len(corpus.text)} characters, {len(corpus.vocabulary)} different ones, corpus {options.corpus}"
    experiment = Experiment("cells", options, Data(source))
    base = replace(
        base, epochs=options.epochs, hidden=options.hidden, seed=options.seed, corpus=options.corpus,
        max_chars=options.max_chars, device=str(resolve_device(options.device)),
    )  # fmt: skip
    runs = train_all(_variants(base, options.backend), corpus)
    frequencies = frequency_perplexity(corpus)
    published = ("published", 160, 256, 10_000)
    has_bands = (options.corpus, options.epochs, options.hidden, options.max_chars) == published
    experiment.finish(
        results={
            "perplexity": {name: run.perplexity for name, run in runs.items()},
            "characters_per_second": {name: _speed(run) for name, run in runs.items()},
            "frequencies": frequencies,
            "vocabulary": len(corpus.vocabulary),
        },
        table=[_row(name, run, has_bands) for name, run in runs.items()],
        conclusion=_conclude(runs, frequencies, len(corpus.vocabulary)),
    )


def _variants(base: Settings, backend: str) -> dict[str, Settings]:
    return {
        f"{cell}, {sampling}": replace(base, cell=cell, sampling=sampling, backend=backend)
        for sampling in SAMPLINGS
        for cell in CELLS
    }


def _speed(run: Run) -> float:
    return len(run.perplexity) * run.characters_per_epoch / run.seconds


def _row(name: str, run: Run, has_bands: bool) -> Row:
    """Return the perplexity after each quarter of the epochs, and the lowest."""
    epochs = len(run.perplexity)
    quarters = {
        f"epoch {epoch}": run.perplexity[epoch - 1] for epoch in (epochs * k // 4 for k in range(1, 5)) if epoch
    }
    low, high = BANDS.get(name, (None, None)) if has_bands else (None, None)
    return {
        "run": name,
        "backend": run.settings.backend,
        **quarters,
        "lowest": min(run.perplexity),
        "band from": low,
        "to": high,
    }


def _conclude(runs: dict[str, Run], frequencies: float, vocabulary: int) -> str:
    last = {name: run.perplexity[-1] for name, run in runs.items()}
    consecutive = ", ".join(f"{cell} {last[f'{cell}, consecutive']:.4g}" for cell in CELLS)
    random = ", ".join(f"{cell} {last[f'{cell}, random']:.4g}" for cell in CELLS)
    ratios = ", ".join(f"{cell} {last[f'{cell}, consecutive'] / last[f'{cell}, random']:.2f}" for cell in CELLS)
    return (
        f"With {vocabulary} different characters, whose frequencies alone give a perplexity of {frequencies:.4g}, "
        f"consecutive sampling reached {consecutive} and random sampling {random}. Consecutive over random, the ratio of the "
        f"perplexities is {ratios} (one seed; it varies by about a tenth between seeds). The lowest is "
        f"{min(last, key=last.__getitem__)}. Perplexity on the training text measures memorisation, not generalisation."
    )
