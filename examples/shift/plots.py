"""The figures of the environment shift experiment."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.common.figures import new_figure

from .study import Study
from .worlds import WORLDS, Array

BARS = {
    "at_home": ("on the source", "0.75"),
    "plain": ("on the target: plain", "C3"),
    "by_inputs": ("weighted by inputs", "C0"),
    "by_labels": ("weighted by labels", "C1"),
    "own": ("trained on the target", "C2"),
}


def plot_accuracies(studies: Mapping[str, Sequence[Study]]) -> Figure:
    """Plot mean accuracies, one group per world, with the standard deviation over the draws."""
    figure = new_figure(10, 4.5)
    axes = figure.subplots()
    for number, (name, (label, colour)) in enumerate(BARS.items()):
        values = np.array([[getattr(one, name) for one in made] for made in studies.values()])
        places = np.arange(len(studies)) + 0.16 * (number - 2)
        axes.bar(places, values.mean(axis=1), 0.15, yerr=values.std(axis=1), color=colour, label=label)
    axes.set_xticks(range(len(studies)), labels=list(studies))
    axes.set_ylim(0.4, 1.05)
    axes.set_ylabel("accuracy")
    axes.set_title("accuracy under shift, without and with weighting")
    axes.legend(ncols=3, loc="upper right")
    return figure


def plot_worlds(studies: Mapping[str, Sequence[Study]], seed: int) -> Figure:
    """Plot target samples and decision boundaries, and for label shift the weights, of the first draw."""
    figure = new_figure(13, 4.5)
    covariate, label, concept = figure.subplots(1, 3)
    for axes, name in ((covariate, "covariate shift"), (concept, "concept shift")):
        _scatter(axes, name, studies[name][0].lines, seed)
    true, found = WORLDS["label shift"].true_label_ratio, studies["label shift"][0].label_weights
    places = np.arange(len(true))
    label.bar(places - 0.2, true, 0.4, label="true", color="0.6")
    label.bar(places + 0.2, found, 0.4, label="estimated", color="C1")
    label.set_xticks(places, labels=[f"class {number}" for number in places])
    label.set_ylabel("p_target(y) / p_source(y)")
    label.set_title("label shift: weights of the classes")
    label.legend()
    return figure


def _scatter(axes: Axes, name: str, lines: dict[str, Array], seed: int) -> None:
    draw = np.random.default_rng(seed)
    source, target = WORLDS[name].source(draw, 400), WORLDS[name].target(draw, 400)
    axes.plot(*source.x.T, ".", color="0.8", ms=4, label="source")
    for number, mark in enumerate("ox"):
        axes.plot(*target.x[target.y == number].T, mark, color="0.4", ms=3, label=f"target, class {number}")
    across = np.array([-3.0, 3.0])
    styles = {"plain": ("C3-", 5), "weighted by inputs": ("C0-", 2), "trained on the target": ("C2--", 2)}
    for line, (style, width) in styles.items():  # without a gain the second coincides with the first
        a, b, c = lines[line][0]
        axes.plot(across, -(c + a * across) / b, style, lw=width, label=line)
    axes.set_xlim(-3, 3)
    axes.set_ylim(-3.5, 4.5)
    axes.set_xlabel("x_1")
    axes.set_ylabel("x_2")
    axes.set_title(name)
    axes.legend(fontsize="x-small", ncols=2, loc="upper center")
