"""The figures of the polynomial experiment."""

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from examples.common.figures import new_figure

from .fitting import Fit
from .selection import DEGREES, Choice


def plot_curves(fits: dict[str, Fit]) -> Figure:
    """Plot training and test error over epochs, one panel per case."""
    figure = new_figure(11, 4)
    panels = figure.subplots(1, len(fits))
    for axes, (case, fit) in zip(panels, fits.items(), strict=True):
        epochs = range(1, len(fit.train) + 1)
        axes.semilogy(epochs, fit.train, label="train")
        axes.semilogy(epochs, fit.test, "--", label="test")
        axes.set_title(case)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("mean squared error")
    return figure


def plot_selection(choices: Mapping[str, Sequence[Choice]]) -> Figure:
    """Plot error over degree for the first draw, and how often each rule selected each degree in all draws."""
    figure = new_figure(11, 4)
    panels = figure.subplots(1, len(choices) + 1)
    for (way, made), style in zip(choices.items(), ("-", "--"), strict=True):
        panels[0].semilogy(DEGREES, made[0].train, f"C0{style}", label=f"fitted samples, {way}")
        panels[0].semilogy(DEGREES, made[0].held_out, f"C1{style}", marker="o", label=f"held out, {way}")
    panels[0].set_ylabel("mean squared error, first draw")
    panels[0].set_title("error over degree")
    panels[0].set_ylim(top=1e7)  # room for the legend
    for axes, (way, made) in zip(panels[1:], choices.items(), strict=True):
        for shift, rule in ((-0.2, "lowest"), (0.2, "simplest")):
            count = Counter(getattr(choice, rule) for choice in made)
            places = [degree + shift for degree in DEGREES]
            label = "lowest error" if rule == "lowest" else "simplest within 1 s.e."
            axes.bar(places, [count[degree] for degree in DEGREES], 0.4, label=label)
        axes.set_title(f"choice by {way}")
        axes.set_ylabel(f"times chosen in {len(made)} draws")
        axes.set_ylim(0, 1.3 * len(made))  # room for the legend
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels:
        axes.set_xlabel("degree")
        axes.set_xticks(list(DEGREES))
        axes.legend(loc="upper right")
    return figure
