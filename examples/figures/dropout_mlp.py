"""The figure of `examples/dropout_mlp.py`: accuracy of the published run, accuracy and loss on few images."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from examples.common.figures import COLOURS, Record, epochs, label_ends, new_figure

STYLES = {"from scratch": "-", "torch.nn": "-", "fused": ":", "no dropout": "--"}


def draw(record: Record) -> dict[str, Figure]:
    """Plot test accuracy with many images, and test accuracy and loss with few; all epochs are shown."""
    results = record["results"]
    published, few, gains = results["published"], results["few images"], results["gains"]
    many = 100 * (published["torch.nn"]["test"] - published["no dropout"]["test"])
    title = (
        f"Dropout changes the test accuracy by {many:+.1f} points on {results['images']['published']:,} images, "
        f"and by {100 * np.mean(gains):+.1f} points on {results['images']['few']:,} (mean of {len(gains)} seeds)"
    )
    figure = new_figure(record, title)
    first, second, third = figure.subplots(1, 3)
    ends = []
    for way, run in published.items():
        colour = COLOURS["plain" if way == "no dropout" else way]
        curve = run["test by epoch"]
        first.plot(epochs(curve), curve, STYLES[way], color=colour, lw=3 if way == "fused" else 1.5)
        ends.append((curve[-1], way, colour))
    label_ends(first, ends)
    first.set_title(f"{results['images']['published']:,} images: test accuracy")
    first.set_xlabel("epoch")
    first.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axes, measure in ((second, "test"), (third, "test_loss")):
        ends = []
        for way, curves in results["few images by epoch"].items():
            colour = COLOURS["dropout" if way == "dropout" else "plain"]
            values = np.array(curves[measure])  # (seeds, epochs)
            axes.fill_between(epochs(values[0]), values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
            axes.plot(epochs(values[0]), np.median(values, axis=0), color=colour)
            mean = few[way]["test" if measure == "test" else "test loss"]
            ends.append((np.median(values[:, -1]), f"{way}\n{mean:.3f}", colour))
        label_ends(axes, ends, line=0.065)
        axes.set_xlim(0, len(values[0]))
        axes.set_xlabel(f"epoch (median and range of {len(values)} seeds)")
    second.set_title(f"{results['images']['few']:,} images: test accuracy")
    third.set_title(f"{results['images']['few']:,} images: test loss")
    return {"accuracy.png": figure}
