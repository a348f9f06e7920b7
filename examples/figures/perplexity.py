"""Curves of perplexity, which several figures have."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from examples.common.figures import COLOURS, epochs, label_ends

NAMES = {"rnn": "plain RNN", "gru": "GRU", "gru-before": "GRU, reset before", "lstm": "LSTM"}  # of the cells
TICKS = [m * 10**e for e in range(7) for m in (1, 2, 5)]


def draw_curves(
    axes: Axes,
    curves: Mapping[str, Sequence[float]],
    frequencies: float,
    styles: Mapping[str, tuple[str, str]],
    labels: Mapping[str, str],
) -> None:
    """Plot perplexity over epochs on a log axis, with labels at the ends of the curves.

    Args:
        axes: where to.
        curves: perplexities by name.
        frequencies: perplexity of the character frequencies alone, drawn as a dashed line.
        styles: colour and line style of each curve.
        labels: text at the end of each curve.
    """
    values = [value for curve in curves.values() for value in curve] + [frequencies]
    axes.set_yscale("log")
    axes.set_ylim(0.9 * min(values), 1.1 * max(values))
    ends = [(frequencies, "frequencies alone", COLOURS["theory"])]
    for name, curve in curves.items():
        colour, style = styles[name]
        axes.plot(epochs(curve), curve, style, color=colour, marker="." if len(curve) < 10 else "")
        ends.append((curve[-1], labels[name], colour))
    axes.axhline(frequencies, color=COLOURS["theory"], linestyle="--", linewidth=0.8)
    shown = [tick for tick in TICKS if min(values) / 1.5 <= tick <= 1.5 * max(values)]
    axes.set_yticks(shown, [f"{tick:,}" for tick in shown])
    axes.set_ylim(0.9 * min(values), 1.1 * max(values))
    axes.minorticks_off()
    axes.set_xlabel("epoch")
    label_ends(axes, ends)
