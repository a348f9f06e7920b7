"""The figures of `examples/polynomial.py`: the fits, their errors over the epochs, and the choice of the degree."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from examples.common.figures import BLUE, COLOURS, GREY, ORANGE, Record, epochs, label_ends, new_figure, numbers, short

TRUTH = (1.2, -3.4, 5.6, 5.0)  # of x, x^2, x^3, and the bias
RULES = {"lowest": ("lowest error", GREY), "simplest": ("simplest within\none standard error", BLUE)}


def draw(record: Record) -> dict[str, Figure]:
    """Draw the three figures."""
    return {"fits.png": _fits(record), "errors.png": _errors(record), "degree.png": _degree(record)}


def _fits(record: Record) -> Figure:
    """Plot samples, the cubic and the fit, one panel per case."""
    results = record["results"]
    test = {case: numbers["test"] for case, numbers in results["cases"].items()}
    title = (
        f"Fitted to the right features the test error is {short(test['normal'], 2)}; "
        f"from two samples it is {short(test['overfit'])}, and with a straight line {short(test['underfit'])}"
    )
    figure = new_figure(record, title)
    samples = results["samples"]
    x = np.linspace(min(samples["test"]["x"]), max(samples["test"]["x"]), 200)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (case, fit) in zip(panels, results["shown"].items(), strict=True):
        count, degree = results["cases"][case]["samples"], len(fit["weights"])
        axes.plot(samples["test"]["x"], samples["test"]["y"], ".", ms=4, color=COLOURS["test"], alpha=0.5, label="test")
        axes.plot(
            samples["train"]["x"][:count], samples["train"]["y"][:count], "o", ms=5 if count < 10 else 3,
            color=COLOURS["train"], mec="white", mew=0.4, label="training", zorder=3,
        )  # fmt: skip
        axes.plot(x, _polynomial(TRUTH, x), color=COLOURS["theory"], lw=1, ls="--", label="the cubic")
        axes.plot(x, _polynomial((*fit["weights"], fit["bias"]), x), color=ORANGE, lw=2, label="the fit")
        axes.set_title(f"{case}: {count} samples, " + ("a straight line" if degree == 1 else f"degree {degree}"))
        axes.set_xlabel("x")
    low, high = min(samples["test"]["y"]), max(samples["test"]["y"])
    panels[0].set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    panels[0].set_ylabel("y")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _polynomial(weights: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Return w_1 x + w_2 x^2 + .. + bias, the last of `weights`."""
    *powers, bias = map(float, weights)
    return sum((w * x**k for k, w in enumerate(powers, start=1)), start=np.full_like(x, bias))


def _errors(record: Record) -> Figure:
    """Plot training and test error over the epochs, one panel per case."""
    shown = record["results"]["shown"]
    ends = {case: (float(fit["train"][-1]), float(fit["test"][-1])) for case, fit in shown.items()}
    told = ", ".join(f"{short(train)} and {short(test)} ({case})" for case, (train, test) in ends.items())
    title = f"After {len(shown['normal']['train'])} epochs the training and the test error are {told}"
    figure = new_figure(record, title, 3.2)
    for axes, (case, fit) in zip(figure.subplots(1, 3, sharey=True), shown.items(), strict=True):
        for name, style in (("train", "-"), ("test", "--")):
            axes.semilogy(epochs(fit[name]), numbers(fit[name]), style, color=COLOURS[name])
        axes.axhline(1e-4, color=GREY, lw=0.8, ls=":")
        axes.set_title(case)
        axes.set_xlabel("epoch")
    for axes, (train, test) in zip(figure.axes, ends.values(), strict=True):
        label_ends(axes, [(train, "training", COLOURS["train"]), (test, "test", COLOURS["test"])])
    figure.axes[0].set_ylabel("mean squared error")
    figure.axes[1].text(1, 1.2e-4, "variance of the noise", fontsize=7, color=GREY)
    return figure


def _degree(record: Record) -> Figure:
    """Plot the errors of the first draw over the degree, and how often each rule chose each degree in all draws."""
    results = record["results"]
    chosen = results["chosen"]
    told = [
        f"{rules['simplest'].get('3', 0)} of {sum(rules['simplest'].values())} draws by {way} "
        f"(the lowest error alone in {rules['lowest'].get('3', 0)})"
        for way, rules in chosen.items()
    ]
    title = f"The simplest degree within one standard error of the lowest is 3 in {' and in '.join(told)}"
    figure = new_figure(record, title)
    first, *others = figure.subplots(1, 1 + len(chosen))
    ends = []
    for (way, made), style in zip(results["first draw"].items(), ("-", "--"), strict=True):
        for name, colour in (("train", COLOURS["train"]), ("held_out", COLOURS["test"])):
            first.semilogy(epochs(made[name]), made[name], style, color=colour, marker="o", ms=3)
            kind = "fitted" if name == "train" else "held out"
            ends.append((made[name][-1], f"{kind}, {way.removesuffix(' set')}", colour))
    label_ends(first, ends)
    first.set_title("errors of one draw")
    first.set_ylabel("mean squared error")
    for axes, (way, rules) in zip(others, chosen.items(), strict=True):
        for shift, (rule, (label, colour)) in zip((-0.2, 0.2), RULES.items(), strict=True):
            counts = [rules[rule].get(str(degree), 0) for degree in epochs(made["train"])]
            axes.bar(np.arange(len(counts)) + 1 + shift, counts, 0.4, color=colour, label=label)
        axes.set_title(f"choice by {way}")
        axes.set_ylabel("draws with this choice")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    others[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    for axes in (first, *others):
        axes.set_xlabel("degree")
        axes.set_xticks(list(epochs(made["train"])))
    return figure
