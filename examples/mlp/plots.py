"""The figure of the dropout experiment."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from examples.common.figures import new_figure

from .training import Curve

STYLES = {"from scratch": "C0-", "torch.nn": "C2-", "fused": "C1:", "no dropout": "k--"}


def plot(published: dict[str, Curve], scarce: Mapping[str, Sequence[Curve]], titles: tuple[str, str]) -> Figure:
    """Plot the accuracies of the published run, and accuracy and loss of the runs on few images."""
    figure = new_figure(13, 4.3)
    first, second, third = figure.subplots(1, 3)
    for name, curve in published.items():
        epochs = range(1, len(curve.test) + 1)
        first.plot(epochs, curve.test, STYLES[name], lw=3 if name == "fused" else 1.5, label=name)
    first.set_title(titles[0])
    first.set_ylabel("test accuracy")
    for axes, measure in ((second, "test"), (third, "test_loss")):
        late: list[float] = []
        for (name, curves), colour in zip(scarce.items(), ("C0", "C3"), strict=True):
            values = np.array([getattr(curve, measure) for curve in curves])  # (seeds, epochs)
            epochs = range(1, values.shape[1] + 1)
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
            axes.plot(
                epochs, np.median(values, axis=0), colour, label=f"{name}: median and range of {len(curves)} seeds"
            )
            late += values[:, -len(epochs) // 3 :].flatten().tolist()
        room = 0.4 * (max(late) - min(late))  # the axis shows the range of the last third of the epochs
        axes.set_ylim(min(late) - room, max(late) + room)
        axes.set_title(titles[1])
    second.set_ylabel("test accuracy")
    third.set_ylabel("test loss")
    for axes in (first, second, third):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    return figure
