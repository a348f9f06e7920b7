"""The figure of `examples/episodes.py`: losses, and accuracy by the steps since the start of the episode."""

from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, label_ends, new_figure, short

RESETS, PLAIN = "resets=", "without starts"


def draw(record: Record) -> dict[str, Figure]:
    """Plot the losses over the updates, and the accuracy over the steps since the start of the episode."""
    results = record["results"]
    ways, bound = results["ways"], results["without starts"]
    title = (
        f"With resets= {ways[RESETS]['accuracy']:.1%} of the steps are right; without starts {ways[PLAIN]['accuracy']:.1%}, "
        f"where at most {bound['ceiling']:.1%} are possible"
    )
    figure = new_figure(record, title)
    left, right = figure.subplots(1, 2)
    losses, rights = [], []
    for way, found in ways.items():
        wide = {"linewidth": 4, "alpha": 0.4} if way == RESETS else {"linewidth": 1.2}  # the padded curve lies on it
        left.semilogy(found["loss"], color=COLOURS[way], **wide)
        right.plot(found["accuracy_by_age"], color=COLOURS[way], marker=".", **wide)
        losses.append((sum(found["loss"][-20:]) / 20, way, COLOURS[way]))
        rights.append((found["accuracy_by_age"][-1], way, COLOURS[way]))
    left.axhline(bound["floor"], color=COLOURS["theory"], ls=":")
    right.plot(bound["accuracy_by_age"], ":", color=COLOURS["theory"])
    label_ends(left, [*losses, (bound["floor"], "its lowest possible", COLOURS["theory"])])
    right.set_ylim(0, 1.05)
    best = (bound["accuracy_by_age"][-1], "its best possible", COLOURS["theory"])
    label_ends(right, [*rights, best])
    left.set_title(f"loss; resets= and padded differ by {short(results['apart'], 1)} at most")
    left.set_xlabel("update")
    right.set_title("accuracy on new streams")
    right.set_xlabel("steps since the episode started")
    return {"recall.png": figure}
