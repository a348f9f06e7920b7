"""The figure of `examples/lyrics.py`: perplexity over the epochs, and what the model writes."""

import textwrap

from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, new_figure

from .perplexity import NAMES, draw_panels

SHOWN = 40  # characters of the text


def draw(record: Record) -> dict[str, Figure]:
    """Plot the curve, with the beginning of the last generated text below it; nothing if no epoch was finished."""
    curve, settings = record["perplexity"], record["settings"]
    if not curve:
        return {}
    cell, sampling = settings["cell"], settings["sampling"]
    title = (
        f"{NAMES[cell]}, {sampling} sampling: the perplexity on its training text goes from {curve[0]:.4g} "
        f"to {curve[-1]:.4g} in {len(curve)} epochs; character frequencies alone give {record['frequencies']:.4g}"
    )
    figure = new_figure(record, title, 3.8)
    draw_panels(figure, {"": [(curve, COLOURS[cell], "-", NAMES[cell])]}, record["frequencies"])
    if record["samples"]:
        text = str(record["samples"][-1]["text"])[:SHOWN].strip()
        figure.axes[0].set_xlabel(f"epoch\n\nIt writes: {textwrap.fill(text, 2 * SHOWN)} ..")
    return {"perplexity.png": figure}
