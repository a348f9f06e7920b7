"""The figure of `examples/weight_decay.py`: losses and norm of the weights over the epochs."""

from matplotlib.figure import Figure

from examples.common.figures import COLOURS, GREY, Record, epochs, label_ends, new_figure, short

PANELS = {"train": "training loss", "test": "test loss", "norm": "norm of the weights"}
LABELS = {"0": ("no penalty", COLOURS["plain"]), "3": ("lambda 3", COLOURS["penalty"])}
TRUE_NORM = 0.01 * 200**0.5


def draw(record: Record) -> dict[str, Figure]:
    """Plot one panel per measure, on axes of their own; the curves of the two ways coincide."""
    curves = record["results"]["curves"]
    last = {name: [curves["scratch"][lamda][name][-1] for lamda in LABELS] for name in PANELS}
    title = (
        f"The penalty brings the norm of the weights from {short(last['norm'][0])} to {short(last['norm'][1], 2)} and the "
        f"test loss from {short(last['test'][0])} to {short(last['test'][1], 2)}; without it the training loss falls to "
        f"{short(last['train'][0], 1)}"
    )
    figure = new_figure(record, title, 3.4)
    for axes, (name, panel) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        ends = []
        for lamda, (label, colour) in LABELS.items():
            by_hand, by_optimiser = (curves[way][lamda][name] for way in ("scratch", "optimiser"))
            axes.semilogy(epochs(by_hand), by_hand, color=colour)
            axes.semilogy(epochs(by_optimiser)[4::5], by_optimiser[4::5], ls="", marker=".", ms=5, color=colour)
            ends.append((by_hand[-1], label, colour))
        if name == "norm":
            axes.axhline(TRUE_NORM, color=COLOURS["theory"], ls="--", lw=0.8)
            ends.append((TRUE_NORM, "true weights", COLOURS["theory"]))
        label_ends(axes, ends)
        axes.set_title(panel)
        axes.set_xlabel("epoch")
    figure.axes[0].text(
        0.98, 0.98, "lines: from scratch\ndots: optimiser", fontsize=7, color=GREY, ha="right", va="top",
        transform=figure.axes[0].transAxes,
    )  # fmt: skip
    return {"losses.png": figure}
