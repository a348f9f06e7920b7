"""The cells side by side: plain RNN, both GRUs and the LSTM learn the same lyrics, with both samplings.

    python examples/cells.py --out out/cells
    python examples/cells.py --quick
    python examples/cells.py --hidden 256 --max-chars 10000 --corpus published     # the textbook's size and text

Every run is that of lyrics.py with its defaults, which are the published experiment's (35 steps, batch 32, weights
N(0, 0.01^2), clipping at a global norm of 0.01 and a rate of 100, so that each step has length 1), on half the text with
half the units, so that the eight of them take minutes. Consecutive sampling
carries the state from minibatch to minibatch, random sampling starts each from zero and so never sees more than 35
characters back. The dashed line is what character frequencies alone give: a model below it uses the context.

Perplexity is on the training text, so it tells how well the text was memorised. The published figures stand beside ours
as a band only where the published text was trained on at the published size. The plain RNN has no kernel:
with --backend triton the reference runs it.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.argument_types import positive, resolve_device
from examples.common.backends import backend_for
from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.parser import Parser, experiment_parser
from examples.common.program import program
from examples.common.tables import Row
from examples.lm.compare import frequency_perplexity, train_all
from examples.lm.corpus import load_corpus
from examples.lm.options import build_parser, settings_of
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


def parser() -> Parser:
    """Describe the options."""
    parser = experiment_parser(
        __doc__,
        out="cells",
        quick="500 characters, 24 units, 30 epochs, minibatches of 8 with 10 steps",
        small={"max_chars": 500, "hidden": 24, "epochs": 30},
        device=True,
    )
    add = parser.add_argument
    add("--epochs", type=positive(int), default=160, help="passes over the text")
    add("--hidden", type=positive(int), default=128, help="width of the hidden state")
    add("--corpus", default="default", metavar="FILE|default|published", help="as for lyrics.py")
    add("--max-chars", type=positive(int), default=5000, help="how much of the corpus to read")
    return parser


@program("cells.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train every cell with every sampling, draw and compare."""
    options = parser().parse_args(arguments)
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
        f"{cell}, {sampling}": replace(base, cell=cell, sampling=sampling, backend=backend_for(cell, backend))
        for sampling in SAMPLINGS
        for cell in CELLS
    }


def _speed(run: Run) -> float:
    return len(run.perplexity) * run.characters_per_epoch / run.seconds


def _row(name: str, run: Run, has_bands: bool) -> Row:
    """Tell where a run stood after each quarter of its epochs."""
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
        f"consecutive sampling reached {consecutive} and random sampling {random}. With the state carried on, the perplexity "
        f"is these times that without: {ratios} (one seed; another may move this by a tenth). The lowest is "
        f"{min(last, key=last.__getitem__)}. All of it is memorising: "
        "perplexity on the training text says nothing of another text."
    )


if __name__ == "__main__":
    sys.exit(main())
