"""Perplexity curves."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.common.figures import new_figure, save_figure
from examples.common.fonts import legible

LINE = 40  # characters of text below a figure


def plot_perplexity(path: Path, perplexity: list[float], title: str, frequencies: float, text: str = "") -> None:
    """Plot perplexity over epochs on a log axis to a PNG, with the beginning of a generated text below it."""
    figure = new_figure()
    axes = figure.subplots()
    draw_curves(axes, {"the model": perplexity}, title, frequencies)
    if text:
        figure.supxlabel(textwrap.fill(legible(text[:LINE]), 2 * LINE), fontsize="small")
    save_figure(path, figure)


def draw_curves(axes: Any, curves: Mapping[str, Sequence[float]], title: str, frequencies: float | None = None) -> None:
    """Plot named curves over epochs on a log axis; `frequencies` is the perplexity of a model without context."""
    for name, curve in curves.items():
        axes.semilogy(range(1, len(curve) + 1), curve, marker="." if len(curve) < 10 else "", label=name)
    if frequencies is not None:
        axes.axhline(frequencies, color="k", linestyle="--", linewidth=1, label="character frequencies alone")
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity on the training text")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    values = [value for curve in curves.values() for value in curve] + [frequencies or 1.0]
    ticks = [m * 10**e for e in range(7) for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if min(values) / 2 <= tick <= 2 * max(values)]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    if len(curves) > 1 or frequencies is not None:
        axes.legend(fontsize="small")
