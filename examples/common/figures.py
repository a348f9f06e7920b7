"""Figures without a display: made, drawn into and written as PNG."""

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .files import write_whole
from .fonts import families


def new_figure(width: float = 7, height: float = 4.5) -> Figure:
    """Make a figure (inches) that lays itself out; text in it may be Chinese, passed through `fonts.legible`."""
    matplotlib.rcParams["font.family"] = list(families())  # read when text is made, so it must stay set
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(path: Path, figure: Figure) -> None:
    """Write the figure aside as PNG and rename it over `path`.

    Raises:
        UserError: the disk refuses.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_whole(path, buffer.getvalue())
