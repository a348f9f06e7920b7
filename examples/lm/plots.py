"""The perplexity curve."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from .files import write_whole


def plot_perplexity(path: Path, perplexity: list[float], title: str) -> None:
    """Draw perplexity over epochs on a log axis into a PNG; needs no display and no Chinese font."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(range(1, len(perplexity) + 1), perplexity, marker="." if len(perplexity) < 10 else "")
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity on the training text")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_whole(path, buffer.getvalue())
