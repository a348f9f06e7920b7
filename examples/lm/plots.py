"""Perplexity curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.common.figures import new_figure, save_figure


def plot_perplexity(path: Path, perplexity: list[float], title: str) -> None:
    """Draw perplexity over epochs on a log axis into a PNG."""
    figure = new_figure()
    axes = figure.subplots()
    draw_curves(axes, {"": perplexity}, title)
    save_figure(path, figure)


def draw_curves(axes: Any, curves: Mapping[str, Sequence[float]], title: str, frequencies: float | None = None) -> None:
    """Draw named curves over epochs on a log axis; `frequencies` is the perplexity of a model without context."""
    for name, curve in curves.items():
        axes.semilogy(range(1, len(curve) + 1), curve, marker="." if len(curve) < 10 else "", label=name)
    if frequencies is not None:
        axes.axhline(frequencies, color="k", linestyle="--", linewidth=1, label="character frequencies alone")
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity on the training text")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    if len(curves) > 1:
        axes.legend(fontsize="small")
