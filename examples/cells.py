"""Comparison of cells: plain RNN, both GRUs and the LSTM trained on the same lyrics, with both sampling methods.

    python examples/cells.py --out out/cells
    python examples/cells.py --quick
    python examples/cells.py --hidden 256 --max-chars 10000 --corpus published     # the textbook's size and text

Every run uses the defaults of lyrics.py, which are those of the published experiment (35 steps, batch 32, weights
N(0, 0.01^2), gradients clipped to a global norm of 0.01, learning rate 100, so that each step has length 1), but half the
text and half the units, so that all eight runs take minutes. Consecutive sampling carries the state from minibatch to
minibatch; random sampling starts each from zero, so its context is at most 35 characters. The dashed line is the perplexity
of the character frequencies alone: a model below it uses the context.

Perplexity is measured on the training text: it shows how well the text was memorised. Published figures are printed only
for the published text and size.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.argument_types import resolve_device
from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.program import program
from examples.common.tables import Row
from examples.lm.compare import frequency_perplexity, train_all
from examples.lm.corpus import load_corpus
from examples.lm.options import build_parser, comparison_parser, settings_of
from examples.lm.plots import draw_curves
from examples.lm.run import Run
from examples.lm.settings import Settings

CELLS = ("rnn", "gru", "gru-before", "lstm")
SAMPLINGS = ("consecutive", "random")
BANDS = {  # perplexity after 160 epochs on the published text
    "gru, consecutive": (1.38, 1.55),
    "gru-before, consecutive": (1.6, 2.0),
    "lstm, consecutive": (3.6, 4.4),
}


@program("cells.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train every cell with both sampling methods and write the comparison."""
    parser = comparison_parser(
        __doc__,
        {"epochs": 160, "hidden": 128, "max_chars": 5000},
        out="cells",
        quick="500 characters, 24 units, 30 epochs, minibatches of 8 with 10 steps",
        small={"epochs": 30, "hidden": 24, "max_chars": 500},
        device=True,
    )
    parser.add_argument("--corpus", default="default", metavar="FILE|default|published", help="as for lyrics.py")
    options = parser.parse_args(arguments)
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
        figures={"cells.png": _draw(runs, frequencies)},
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


def _draw(runs: dict[str, Run], frequencies: float) -> Figure:
    figure = new_figure(12, 5)
    for axes, sampling in zip(figure.subplots(1, 2, sharey=True), SAMPLINGS, strict=True):
        curves = {cell: runs[f"{cell}, {sampling}"].perplexity for cell in CELLS}
        draw_curves(axes, curves, f"{sampling} sampling", frequencies)
    return figure


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


if __name__ == "__main__":
    sys.exit(main())
