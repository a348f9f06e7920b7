"""The figure of `examples/cells.py`: perplexity of the cells over the epochs, by sampling."""

from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, new_figure

from .perplexity import NAMES, Curve, draw_panels


def draw(record: Record) -> dict[str, Figure]:
    """Plot one panel per sampling method."""
    results = record["results"]
    curves, frequencies = results["perplexity"], results["frequencies"]
    best = min(curves, key=lambda name: curves[name][-1])
    cell, _, sampling = best.partition(", ")
    title = (
        f"After {len(curves[best])} epochs the perplexity is lowest for the {NAMES[cell]} with {sampling} sampling, "
        f"{curves[best][-1]:.4g}; character frequencies alone give {frequencies:.4g}"
    )
    figure = new_figure(record, title)
    panels: dict[str, list[Curve]] = {
        f"{sampling} sampling": [
            (curve := curves[f"{cell}, {sampling}"], COLOURS[cell], "-", f"{NAMES[cell]}: {curve[-1]:.4g}")
            for cell in NAMES
        ]
        for sampling in ("consecutive", "random")
    }
    draw_panels(figure, panels, frequencies)
    return {"perplexity.png": figure}
