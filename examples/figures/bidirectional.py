"""The figure of `examples/bidirectional.py`: perplexity of the nets with one and two directions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, label_ends, new_figure

LABELS, NOISE, LYRICS = "label two steps ahead", "language model of noise", "language model of lyrics"
DIRECTIONS = ("one direction", "two directions")
TICKS = (1, 2, 4, 8, 16, 100, 1000)


def draw(record: Record) -> dict[str, Figure]:
    """Plot training perplexity, with the lowest possible from the past alone where it is known."""
    results = record["results"]
    title = (
        f"Two directions label {results[LABELS]['two directions']['accuracy']:.1%} right where the past allows "
        f"{results[LABELS]['ceiling']:.1%}; on noise their perplexity of {results[NOISE]['two directions']['perplexity']:.3f} "
        f"is below the lowest possible, {results[NOISE]['floor']:.3g}: they read the answer"
    )
    figure = new_figure(record, title)
    for axes, (task, found) in zip(figure.subplots(1, 3), results.items(), strict=True):
        ends = []
        curves = {name: np.exp(found[name]["loss"]) for name in DIRECTIONS}
        for name, curve in curves.items():
            axes.semilogy(curve, color=COLOURS[name], lw=1)
            ends.append((curve[-20:].mean(), f"{name}:\n{_result(task, found[name])}", COLOURS[name]))
        if found["floor"] is not None:
            axes.axhline(found["floor"], color=COLOURS["theory"], ls="--", lw=0.8)
            ends.append((found["floor"] * 1.001, "lowest from\nthe past", COLOURS["theory"]))
        high = 1.3 * max(curve.max() for curve in curves.values())
        ticks = [tick for tick in TICKS if tick < high]
        axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(0.9, high)
        label_ends(axes, ends, line=0.06)
        axes.set_title(task)
        axes.set_xlabel("update")
    figure.axes[0].set_ylabel("perplexity of the label in training")
    return {"perplexity.png": figure}


def _result(task: str, found: Mapping[str, Any]) -> str:
    """Return the accuracy, or the perplexity, on new sequences."""
    if task == LABELS:
        return f"accuracy {found['accuracy']:.3f}"
    perplexity = f"{found['perplexity']:,.0f}" if found["perplexity"] >= 100 else f"{found['perplexity']:.3g}"
    return f"{perplexity} on\nother songs" if task == LYRICS else f"{found['perplexity']:.3f}"
