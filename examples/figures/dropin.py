"""The figure of `examples/dropin.py`: losses and times of nn.GRU and FusedGRU."""

import numpy as np
from matplotlib.figure import Figure

from examples.common.figures import BLUE, COLOURS, SKY, Record, new_figure, short

THEIRS, PACKED, LENGTHS = "nn.GRU, packed", "FusedGRU, packed", "FusedGRU, lengths="
STYLES = {THEIRS: (COLOURS["torch.nn"], 6), PACKED: (BLUE, 3), LENGTHS: (SKY, 1)}  # colour and width


def draw(record: Record) -> dict[str, Figure]:
    """Plot the losses, which coincide, and the times of an update."""
    results = record["results"]
    apart, updates = max(results["apart"].values()), len(results["curves"][THEIRS]["loss"])
    title = (
        f"FusedGRU's losses stay within {short(apart, 1)} of nn.GRU's over {updates} updates; nn.GRU's "
        f"time is {results['ratio'][PACKED]:.2f} times FusedGRU's packed, {results['ratio'][LENGTHS]:.2f} times with lengths="
    )
    figure = new_figure(record, title)
    left, right = figure.subplots(1, 2)
    for name, curve in results["curves"].items():
        colour, width = STYLES[name]
        left.semilogy(curve["loss"], color=colour, linewidth=width, label=name)
    left.set_title("loss: the three curves lie on each other")
    left.set_xlabel("update")
    left.legend(loc="upper left", bbox_to_anchor=(1, 1))
    for place, (name, curve) in enumerate(results["curves"].items()):
        low, median, high = 1000 * np.quantile(curve["seconds"], (0.05, 0.5, 0.95))
        right.plot([place, place], [low, high], color=STYLES[name][0], lw=1.5)
        right.plot(place, median, "o", color=STYLES[name][0])
        right.text(place + 0.1, median, f"{median:.2f}", va="center", fontsize=8)
    right.set_xticks(range(3), ["nn.GRU\npacked", "FusedGRU\npacked", "FusedGRU\nlengths="])
    right.set_xlim(-0.5, 2.6)
    right.set_ylim(0)
    right.set_title("milliseconds per update: median, 5% to 95%")
    return {"losses.png": figure}
