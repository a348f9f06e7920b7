"""Panels with curves of perplexity, which several figures have."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from examples.common.figures import COLOURS, epochs, label_ends

NAMES = {"rnn": "plain RNN", "gru": "GRU", "gru-before": "GRU, reset before", "lstm": "LSTM"}  # of the cells
STEPS = (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)  # ticks of a decade; the others if there would be few

Curve = tuple[Sequence[float], str, str, str]  # perplexities of the epochs, colour, line style, label at the end


def draw_panels(figure: Figure, panels: Mapping[str, Sequence[Curve]], frequencies: float) -> None:
    """Plot perplexity over epochs on a log axis, one panel per title, all of the same height.

    Args:
        figure: where to.
        panels: curves by the title of their panel.
        frequencies: perplexity of the character frequencies alone, drawn as a dashed line.
    """
    values = [frequencies, *(value for curves in panels.values() for curve in curves for value in curve[0])]
    low, high = min(values), max(values)
    coarse, fine = (
        [m * 10**e for e in range(7) for m in steps if low / 1.1 <= m * 10**e <= 1.1 * high] for steps in STEPS
    )
    ticks = coarse if len(coarse) > 2 else fine
    axes_of = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, curves) in zip(axes_of, panels.items(), strict=True):
        ends = [(frequencies, "frequencies alone", COLOURS["theory"])]
        for curve, colour, style, label in curves:
            axes.semilogy(epochs(curve), curve, style, color=colour, marker="." if len(curve) < 10 else "")
            ends.append((curve[-1], label, colour))
        axes.axhline(frequencies, color=COLOURS["theory"], linestyle="--", linewidth=0.8)
        axes.set_yticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(low / 1.1, 1.1 * high)
        axes.set_xlabel("epoch")
        axes.set_title(title)
        label_ends(axes, ends)
    axes_of[0].set_ylabel("perplexity on the training text")
