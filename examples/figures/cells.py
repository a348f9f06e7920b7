"""The figure of `examples/cells.py`: perplexity of the cells over the epochs, by sampling."""

from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, new_figure

from .perplexity import NAMES, draw_curves


def draw(record: Record) -> dict[str, Figure]:
    """Plot one panel per sampling method."""
    results = record["results"]
    curves, frequencies = results["perplexity"], results["frequencies"]
    best = min(curves, key=lambda name: curves[name][-1])
    cell, _, sampling = best.partition(", ")
    title = (
        f"After {len(curves[best])} epochs the {NAMES[cell]} with {sampling} sampling has learnt most of its training text: "
        f"perplexity {curves[best][-1]:.4g}, where character frequencies alone give {frequencies:.4g}"
    )
    figure = new_figure(record, title)
    for axes, sampling in zip(figure.subplots(1, 2, sharey=True), ("consecutive", "random"), strict=True):
        shown = {cell: curves[f"{cell}, {sampling}"] for cell in NAMES}
        labels = {cell: f"{NAMES[cell]}: {curve[-1]:.4g}" for cell, curve in shown.items()}
        draw_curves(axes, shown, frequencies, {cell: (COLOURS[cell], "-") for cell in NAMES}, labels)
        axes.set_title(f"{sampling} sampling")
    figure.axes[0].set_ylabel("perplexity on the training text")
    return {"perplexity.png": figure}
