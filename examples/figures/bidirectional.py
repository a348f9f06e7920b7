"""The figure of `examples/bidirectional.py`: perplexity of the nets with one and two directions."""

import numpy as np
from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, label_ends, new_figure

LABELS, NOISE, LYRICS = "label two steps ahead", "language model of noise", "language model of lyrics"
TICKS = (1, 2, 4, 8, 16, 100, 1000)


def draw(record: Record) -> dict[str, Figure]:
    """Plot training perplexity, with the lowest possible from the past alone where it is known."""
    results = record["results"]
    title = (
        f"Two directions label {results[LABELS]['two directions']['accuracy']:.1%} right where the past allows "
        f"{results[LABELS]['ceiling']:.1%}; on noise their perplexity of {results[NOISE]['two directions']['perplexity']:.3f} "
        f"is below the possible {results[NOISE]['floor']:.3g}: they read the answer"
    )
    figure = new_figure(record, title)
    for axes, (task, found) in zip(figure.subplots(1, 3), results.items(), strict=True):
        ends = []
        axes.set_yscale("log")
        for name in ("one direction", "two directions"):
            curve = np.exp(found[name]["loss"])
            axes.plot(curve, color=COLOURS[name], lw=1)
            new = found[name]["perplexity"]
            told = (
                f"accuracy {found[name]['accuracy']:.3f}"
                if task == LABELS
                else f"{new:,.0f}"
                if new > 100
                else f"{new:.3g}"
            )
            label = f"{name}:\n{told}" + (" on other\nsongs" if task == LYRICS else "")
            ends.append((curve[-20:].mean(), label, COLOURS[name]))
        if found["floor"] is not None:
            axes.axhline(found["floor"], color=COLOURS["theory"], ls="--", lw=0.8)
            ends.append((found["floor"] * 1.001, "lowest from\nthe past", COLOURS["theory"]))
        high = max(np.exp(found[name]["loss"]).max() for name in ("one direction", "two directions"))
        axes.set_ylim(0.9, 1.3 * high)
        ticks = [tick for tick in TICKS if tick < 1.3 * high]
        axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        label_ends(axes, ends, gap=0.2 if task == LYRICS else 0.15)
        axes.set_title(task)
        axes.set_xlabel("update, each on new " + ("windows" if task == LYRICS else "sequences"))
    figure.axes[0].set_ylabel("perplexity of the label in training")
    return {"perplexity.png": figure}
