"""Regularised recurrent layers: zoneout and recurrent dropout against overfitting on few songs.

    python examples/regularised.py --out out/regularised
    python examples/regularised.py --quick

A language model is trained on twelve songs and evaluated after every epoch on twelve others. Without regularisation the
validation loss soon rises, while the loss on the songs that are learnt goes on falling: the net learns them by heart. Two
options of the layers act on the recurrence itself, in training only:

- zoneout=(p_h, p_c): every unit keeps its h, or its c, of the step before with this probability (Krueger et al., 2017);
- recurrent_dropout=p: every element of the candidate that is written to the cell is dropped with this probability (Semeniuta
  et al., 2016).

The rates were chosen on the validation songs. Each model is also tested on twelve more songs, with the weights of the epoch that
has the lowest validation loss.

The text is read as bytes of UTF-8, three to a Chinese character: of the characters of twelve songs nearly half occur once, and a
model of whole characters learns little that holds for other songs, with these options or without.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.argument_types import positive
from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.parser import experiment_parser
from examples.common.program import program
from examples.lm.held_out import Curve, fit, texts

NEITHER, ZONEOUT, DROPOUT, BOTH = "neither", "zoneout", "recurrent dropout", "both"
RATES: dict[str, dict[str, Any]] = {
    NEITHER: {},
    ZONEOUT: {"zoneout": (0.1, 0.5)},
    DROPOUT: {"recurrent_dropout": 0.35},
    BOTH: {"zoneout": (0.05, 0.1), "recurrent_dropout": 0.2},
}
Curves = Mapping[str, Sequence[Curve]]  # of every way, one for each seed
Summary = Mapping[str, float]


@program("regularised.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models from several seeds and write the results."""
    parser = experiment_parser(
        __doc__, out="regularised", quick="16 epochs, one seed, not both at once", small={"epochs": 16, "runs": 1}
    )
    add = parser.add_argument
    add("--cell", choices=("lstm", "gru"), default="lstm", help="of the models; a GRU has no c, and p_c is left out")
    add("--epochs", type=positive(int), default=40, help="passes over the text")
    add("--hidden", type=positive(int), default=64, help="units of the layer")
    add("--songs", type=positive(int), default=12, help="songs to learn, up to 24")
    add("--runs", type=positive(int), default=3, help="number of seeds: --seed and those after it")
    options = parser.parse_args(arguments)
    ids = texts(options.songs)
    source = f"the default lyrics in UTF-8: {len(ids.learnt)} bytes to learn ({options.songs} songs), "
    source += f"{len(ids.validation)} for validation, {len(ids.test)} for the test, {ids.symbols} different ones"
    experiment = Experiment("regularised", options, Data(source))
    curves: dict[str, list[Curve]] = {way: [] for way in RATES if not (options.quick and way == BOTH)}
    for run in range(options.runs):
        for way in curves:
            curve = fit(
                options.cell, ids, epochs=options.epochs, hidden=options.hidden, seed=options.seed + run,
                name=f"{way}, {run + 1} of {options.runs}", backend=options.backend, **rates(way, options.cell),
            )  # fmt: skip
            curves[way].append(curve)
    means = {way: mean([curve.summary() for curve in found]) for way, found in curves.items()}
    experiment.finish(
        results={
            "curves": {way: [curve._asdict() for curve in found] for way, found in curves.items()},
            "runs": {way: [curve.summary() for curve in found] for way, found in curves.items()},
            "means": means,
        },
        table=[
            {
                "regularised by": way,
                "rates": " ".join(f"{name}={value}" for name, value in rates(way, options.cell).items()),
                "best epoch": found["best_epoch"],
                "lowest validation loss": found["best"],
                "test loss then": found["test"],
                "last validation loss": found["last"],
                "last loss on the learnt songs": found["learnt"],
                "ms per epoch": 1000 * found["seconds"],
            }
            for way, found in means.items()
        ],
        figures={"regularised.png": _draw(curves)},
        conclusion=_conclude(curves, means),
    )


def rates(way: str, cell: str) -> dict[str, Any]:
    """Return the options of the layer; of zoneout's pair a GRU takes the first."""
    given = dict(RATES[way])
    if cell == "gru" and "zoneout" in given:
        given["zoneout"] = given["zoneout"][0]
    return given


def mean(runs: Sequence[Summary]) -> dict[str, float]:
    """Return the mean of each value over the runs."""
    return {name: statistics.mean(run[name] for run in runs) for name in runs[0]}


def _draw(curves: Curves) -> Figure:
    """Plot the losses on the songs that are learnt and on the validation songs, a thin line for each seed."""
    figure = new_figure(13, 5)
    for axes, text in zip(figure.subplots(1, 2), ("learnt", "validation"), strict=True):
        for number, (way, found) in enumerate(curves.items()):
            for run, curve in enumerate(found):
                losses = getattr(curve, text)
                label = way if run == 0 else None
                axes.plot(range(1, len(losses) + 1), losses, color=f"C{number}", linewidth=1.2, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss per byte")
        axes.set_title("songs that are learnt" if text == "learnt" else "other songs: validation")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def _conclude(curves: Curves, means: Mapping[str, Summary]) -> str:
    plain = means[NEITHER]
    others = [way for way in means if way != NEITHER]
    cost = {way: means[way]["seconds"] / plain["seconds"] for way in others}
    found = [
        f"{way} {means[way]['best']:.3f} (test {means[way]['test']:.3f}), at the end {means[way]['last']:.3f}, "
        f"{means[way]['gap']:.2f} above the learnt songs, in {cost[way]:.1f} times the time"
        for way in others
    ]
    wins = [
        sum(
            ours.summary()["test"] < theirs.summary()["test"]
            for ours, theirs in zip(curves[way], curves[NEITHER], strict=True)
        )
        for way in others
    ]
    better = ", ".join(f"{way} {won} of {len(curves[way])}" for way, won in zip(others, wins, strict=True))
    return (
        f"Without regularisation the lowest validation loss is {plain['best']:.3f} per byte, at epoch {plain['best_epoch']:.0f} "
        f"(test {plain['test']:.3f}); the last is {plain['last']:.3f}, {plain['gap']:.2f} above that of the learnt songs, "
        f"{plain['learnt']:.3f}. The lowest with {'; with '.join(found)}. Seeds with a lower test loss than without: {better}. "
        f"Of all, the lowest validation loss is with {min(means, key=lambda way: means[way]['best'])}. (Means of the "
        f"seeds; time of an epoch, {torch.get_num_threads()} threads, CPU.)"
    )


if __name__ == "__main__":
    sys.exit(main())
