"""The style of all figures: colours that differ for colour-blind readers, little ink, a sentence as the title.

A drawing function gets the record of a run, as in metrics.json, so that a figure can be drawn again without running the
experiment. Figures are 1,000 pixels wide. What they show has the same colour in all of them (`COLOURS`).
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from .files import write_whole
from .fonts import families

Record = Mapping[str, Any]  # what metrics.json holds

WIDTH, DPI = 8.3, 120  # inches, pixels an inch
LINE = 100  # characters of the title in a line
CORNER = 0.2  # inches below the panels for the corner's text

# Okabe & Ito (2008), "Color universal design", without the yellow, which is too light for lines
BLACK, GREY, LIGHT = "#000000", "#707070", "#BBBBBB"
ORANGE, SKY, GREEN, BLUE, RED, PINK = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"

COLOURS = {
    # data: what is fitted or learnt, and what is held out
    "train": BLUE, "test": RED,
    # cells
    "rnn": ORANGE, "gru": BLUE, "gru-before": SKY, "lstm": GREEN,
    # classes of a package: PyTorch's, ours, and code from scratch
    "torch.nn": PINK, "fused": BLUE, "from scratch": ORANGE,
    # a model without the remedy that a figure is about, and with it
    "plain": GREY, "dropout": GREEN, "zoneout": BLUE, "both": RED, "penalty": GREEN, "clipped": GREEN,
    # initial weights
    "normal": RED, "xavier": BLUE, "he": GREEN, "orthogonal": ORANGE, "constant": RED, "zero": PINK, "random": BLUE,
    # directions of a recurrent layer
    "one direction": BLUE, "two directions": RED,
    # where episodes start
    "resets=": BLUE, "padded, lengths=": SKY, "starts in the input": GREEN, "without starts": GREY,
    # corrections of a shift of the distribution
    "source": BLACK, "inputs": BLUE, "labels": ORANGE, "target": GREEN,
    # classes of labelled points
    "class 0": SKY, "class 1": PINK, "class 2": RED,
    # theory, bounds and the truth
    "theory": BLACK,
}  # fmt: skip

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": "#303030",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}


def new_figure(record: Record, title: str, height: float = 3.6) -> Figure:
    """Make a figure with a sentence as its title, and in the corner the seed and what restricts the result.

    Args:
        record: what is drawn; `settings` and `data_is_fallback` are read here.
        title: the finding, with the measured numbers.
        height: inches.
    """
    matplotlib.rcParams.update({**STYLE, "font.family": list(families())})  # read when axes and text are created
    panels = ConstrainedLayoutEngine(rect=(0, CORNER / height, 1, 1 - CORNER / height))
    figure = Figure(figsize=(WIDTH, height), layout=panels)
    figure.suptitle(textwrap.fill(title, LINE), x=0.01, ha="left", fontsize=10.5)
    figure.text(0.995, 0.01, corner(record), ha="right", va="bottom", fontsize=7, color=GREY)
    return figure


def corner(record: Record) -> str:
    """Return the seed, "quick" if the run was, and whether other data stands in for the published."""
    settings = record["settings"]
    return ", ".join(
        [f"seed {settings['seed']}"]
        + ["quick"] * bool(settings.get("quick"))
        + ["not the published data"] * bool(record["data_is_fallback"])
    )


def numbers(values: Sequence[Any]) -> list[float]:
    """Return the values as floats: JSON has no infinity, so records have the string "inf" there."""
    return [float(value) for value in values]


def short(value: Any, digits: int = 3) -> str:
    """Return a number with some significant digits, such as 0.034, 125 and 9.6e-5."""
    text = f"{float(value):.{digits}g}"
    if "e+" in text and float(value) < 1e6:
        return f"{float(text):.0f}"
    return text.replace("e-0", "e-").replace("e+0", "e")


def epochs(curve: Sequence[Any]) -> range:
    """Return 1, 2, .. for the values of a curve."""
    return range(1, len(curve) + 1)


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], line: float = 0.07) -> None:
    """Write labels at the right of the axes instead of a legend; call it when the limits of the y axis are set.

    Args:
        axes: whose lines end at its right.
        ends: for each line the y of its end, the label and its colour.
        line: height of a line of text, as a share of the axes' height.
    """
    low, high = sorted(axes.get_ylim())
    to_share = axes.transData + axes.transAxes.inverted()
    wanted = [to_share.transform((1, min(max(y, low), high)))[1] for y, _, _ in ends]
    order = sorted(range(len(ends)), key=wanted.__getitem__)
    heights = [line * (1 + ends[k][1].count("\n")) for k in order]
    places = _apart([wanted[k] for k in order], heights, -line / 2, 1.0)
    for k, place in zip(order, places, strict=True):
        _, text, colour = ends[k]
        axes.text(1.02, place, text, color=colour, fontsize=8, va="center", transform=axes.transAxes)


def _apart(places: list[float], heights: Sequence[float], bottom: float, top: float) -> list[float]:
    """Move the ascending middles of texts so far apart that these do not touch, and lie between `bottom` and `top`."""
    edge = bottom
    for k, height in enumerate(heights):
        places[k] = max(places[k], edge + height / 2)
        edge = places[k] + height / 2
    edge = top
    for k in reversed(range(len(places))):
        places[k] = min(places[k], edge - heights[k] / 2)
        edge = places[k] - heights[k] / 2
    return places


def save_figure(path: Path, figure: Figure) -> None:
    """Write the figure as a PNG of 256 colours to a temporary file and rename it to `path`.

    Raises:
        UserError: the file cannot be written.
    """
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    write_whole(path, small.getvalue())
