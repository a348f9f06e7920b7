"""Figures without a display, written as PNG."""

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .files import write_whole
from .fonts import families


def new_figure(width: float = 7, height: float = 4.5) -> Figure:
    """Make a figure (size in inches) with constrained layout; pass Chinese text through `fonts.legible` first."""
    matplotlib.rcParams["font.family"] = list(families())  # read when text is created, so it must stay set
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(path: Path, figure: Figure) -> None:
    """Write the figure as PNG to a temporary file and rename it to `path`.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_whole(path, buffer.getvalue())
