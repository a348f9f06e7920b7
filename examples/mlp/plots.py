"""The figure of the dropout experiment."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from examples.common.figures import new_figure

from .training import Curve

STYLES = {"from scratch": "C0-", "torch.nn": "C2-", "fused": "C1:", "no dropout": "k--"}


def plot(published: dict[str, Curve], scarce: Mapping[str, Sequence[Curve]], titles: tuple[str, str]) -> Figure:
    """Draw the published run's accuracies, and accuracy and loss of the run on few images, a line a seed."""
    figure = new_figure(13, 4.3)
    first, second, third = figure.subplots(1, 3)
    for name, curve in published.items():
        epochs = range(1, len(curve.test) + 1)
        first.plot(epochs, curve.test, STYLES[name], lw=3 if name == "fused" else 1.5, label=name)
    first.set_title(titles[0])
    first.set_ylabel("test accuracy")
    for axes, measure in ((second, "test"), (third, "test_loss")):
        for number, (name, curves) in enumerate(scarce.items()):
            for curve in curves:
                values = getattr(curve, measure)
                label = name if curve is curves[0] else None
                axes.plot(range(1, len(values) + 1), values, f"C{3 if number else 0}", lw=1, label=label)
        axes.set_title(titles[1])
    late = {  # the first half of the training is another story: let the second fill the panels
        measure: [
            value for curves in scarce.values() for c in curves for value in getattr(c, measure)[len(c.test) // 2 :]
        ]
        for measure in ("test", "test_loss")
    }
    second.set_ylim(min(late["test"]) - 0.02, max(late["test"]) + 0.01)
    second.set_ylabel("test accuracy, a line a seed")
    third.set_ylim(0.9 * min(late["test_loss"]), 1.1 * max(late["test_loss"]))
    third.set_ylabel("test loss, a line a seed")
    for axes in (first, second, third):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    return figure
