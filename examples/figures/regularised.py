"""The figure of `examples/regularised.py`: losses on the songs that are learnt and on others."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from examples.common.figures import COLOURS, Record, epochs, label_ends, new_figure

WAYS = {
    "neither": "plain",
    "zoneout": "zoneout",
    "recurrent dropout": "dropout",
    "both": "both",
}  # names of the colours


def draw(record: Record) -> dict[str, Figure]:
    """Plot the losses over the epochs, a thin line for each seed."""
    curves, means = record["results"]["curves"], record["results"]["means"]
    told = ", ".join(f"{found['best']:.3f} with {way}" for way, found in means.items() if way != "neither")
    title = (
        f"The lowest loss on other songs is {means['neither']['best']:.3f} without regularisation, at epoch "
        f"{means['neither']['best_epoch']:.0f}; it is {told}"
    )
    figure = new_figure(record, title)
    panels = {"learnt": "loss per byte on songs that are learnt", "validation": "on other songs"}
    for axes, (text, panel) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        for way, found in curves.items():
            for curve in found:
                axes.plot(epochs(curve[text]), curve[text], color=COLOURS[WAYS[way]], linewidth=1)
        axes.set_title(panel)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, text in zip(figure.axes, panels, strict=True):
        ends = [
            (sum(curve[text][-1] for curve in found) / len(found), way, COLOURS[WAYS[way]])
            for way, found in curves.items()
        ]
        label_ends(axes, ends)
    return {"losses.png": figure}
