"""The figures of `examples/environment_shift.py`: accuracies, and the samples of three worlds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.common.figures import COLOURS, LIGHT, Record, new_figure

WAYS = {  # colour and marker of each model
    "on the source": ("source", "|"),
    "plain": ("plain", "o"),
    "weighted by inputs": ("inputs", "s"),
    "weighted by labels": ("labels", "D"),
    "trained on the target": ("target", "^"),
}
NAMES = {"on the source": "tested on the source", "plain": "not corrected"}
SHOWN = {
    "covariate shift": "weighted by inputs",
    "label shift": "weighted by labels",
    "concept shift": "weighted by inputs",
}
MARKERS = "os^"  # of the classes
REACH = 3.2  # of the axes, in both directions


def draw(record: Record) -> dict[str, Figure]:
    """Draw both figures."""
    return {"accuracies.png": _accuracies(record), "worlds.png": _worlds(record)}


def _accuracies(record: Record) -> Figure:
    """Plot mean accuracies with the standard deviation over the draws, one row per world."""
    worlds = record["results"]["worlds"]
    shares = {
        world: round(100 * max(worlds[world]["won by inputs"], worlds[world]["won by labels"]) / worlds[world]["gap"])
        for world in SHOWN
    }
    title = (
        "The better weighting closes {covariate shift}% of the gap to training on the target under covariate shift, "
        "{label shift}% under label shift, and {concept shift}% under concept shift"
    ).format(**shares)
    figure = new_figure(record, title, 3.4)
    axes = figure.subplots()
    for number, (way, (colour, marker)) in enumerate(WAYS.items()):
        values = [one[way] for one in worlds.values()]
        spread = [one["standard deviations"][way] for one in worlds.values()]
        places = np.arange(len(worlds)) + 0.12 * (number - 2)
        size, width = (9, 2) if marker == "|" else (5, 0)
        axes.errorbar(
            values, places, xerr=spread, fmt=marker, color=COLOURS[colour], ms=size, mew=width, elinewidth=1,
            label=NAMES.get(way, way),
        )  # fmt: skip
    axes.set_yticks(range(len(worlds)), labels=list(worlds))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LIGHT, lw=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("accuracy, mean and standard deviation of the draws")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _worlds(record: Record) -> Figure:
    """Plot samples of source and target and the lines between the classes, one column per world, of the first draw."""
    results = record["results"]
    plain = {world: results["worlds"][world]["plain"] for world in SHOWN}
    source = {world: results["worlds"][world]["on the source"] for world in SHOWN}
    told = ", ".join(f"{source[world]:.2f} to {plain[world]:.2f} ({world})" for world in SHOWN)
    figure = new_figure(
        record, f"What the classifier learnt on the source no longer fits the target: accuracy falls from {told}", 5.6
    )
    above, below = figure.subplots(2, 3, sharex=True, sharey=True)
    for (world, corrected), upper, lower in zip(SHOWN.items(), above, below, strict=True):
        shown = results["shown"][world]
        for axes, place in ((upper, "source"), (lower, "target")):
            _points(axes, shown[place])
            _border(axes, shown["lines"]["plain"], COLOURS["plain"], "-", 2.5)
        _border(lower, shown["lines"][corrected], COLOURS[WAYS[corrected][0]], "-", 1.5)
        _border(lower, shown["lines"]["trained on the target"], COLOURS["target"], "--", 1.5)
        upper.set_title(world)
        lower.set_xlabel("x_1")
    above[0].set_ylabel("source: x_2")
    below[0].set_ylabel("target: x_2")
    for name, colour, style in (
        ("not corrected", "plain", "-"),
        ("weighted by inputs", "inputs", "-"),
        ("weighted by labels", "labels", "-"),
        ("trained on the target", "target", "--"),
    ):
        below[2].plot([], [], style, color=COLOURS[colour], label=name)
    for number, marker in enumerate(MARKERS):
        above[2].plot([], [], marker, ms=4, color=COLOURS[f"class {number}"], label=f"class {number}")
    above[2].legend(loc="upper left", bbox_to_anchor=(1, 1))
    below[2].legend(loc="upper left", bbox_to_anchor=(1, 1), title="lines between classes", title_fontsize=8)
    return figure


def _points(axes: Axes, samples: Mapping[str, Any]) -> None:
    x, y = np.array(samples["x"]), np.array(samples["y"])
    for number, marker in enumerate(MARKERS):
        axes.plot(*x[y == number].T, marker, color=COLOURS[f"class {number}"], ms=2.5, mew=0, alpha=0.8)
    axes.set_xlim(-REACH, REACH)
    axes.set_ylim(-REACH, REACH)


def _border(axes: Axes, weights: list[list[float]], colour: str, style: str, width: float) -> None:
    """Draw where the class with the highest score changes; two classes have one row of weights (w_1, w_2, bias)."""
    rows = np.array(weights)
    rows = np.concatenate([np.zeros_like(rows), rows]) if len(rows) == 1 else rows
    side = np.linspace(-REACH, REACH, 241)
    x, y = np.meshgrid(side, side)
    scores = rows[:, 0, None, None] * x + rows[:, 1, None, None] * y + rows[:, 2, None, None]  # (classes, 241, 241)
    best = np.sort(scores, axis=0)
    for number in range(len(rows)):  # a class's lead over the best other one changes its sign at its border
        lead = scores[number] - np.where(best[-1] == scores[number], best[-2], best[-1])
        axes.contour(x, y, lead, levels=[0], colors=[colour], linestyles=[style], linewidths=[width])
        if len(rows) == 2:
            break
