"""The figures of `examples/deep.py`: perplexity by depth, and signal and gradient in the layers before training."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from examples.common.figures import BLUE, COLOURS, ORANGE, RED, SKY, Record, label_ends, new_figure, short

from .perplexity import NAMES, Curve, draw_panels

SIX, XAVIER = "6 layers", "6 layers, Xavier"
DEPTHS = {"1 layer": (SKY, "-"), "2 layers": (ORANGE, "-"), SIX: (RED, "-"), XAVIER: (BLUE, "--")}
FAINTEST = -12  # log10 of the gradients on the maps


def draw(record: Record) -> dict[str, Figure]:
    """Draw both figures."""
    cells = [cell for cell in NAMES if f"{cell}, {SIX}" in record["results"]["perplexity"]]
    return {"perplexity.png": _perplexity(record, cells), "why.png": _why(record, cells)}


def _perplexity(record: Record, cells: list[str]) -> Figure:
    """Plot one panel per cell, a curve per depth."""
    results = record["results"]
    curves, frequencies = results["perplexity"], results["frequencies"]
    ends = {
        name: ", ".join(f"{curves[f'{cell}, {name}'][-1]:.4g} ({NAMES[cell]})" for cell in cells) for name in DEPTHS
    }
    title = (
        f"Six layers from N(0, 0.01^2) end at a perplexity of {ends[SIX]}, from Xavier's weights at {ends[XAVIER]}; "
        f"character frequencies alone give {frequencies:.4g}"
    )
    figure = new_figure(record, title)
    panels: dict[str, list[Curve]] = {
        NAMES[cell]: [
            (curves[f"{cell}, {name}"], colour, style, name.replace(SIX + ",", "6,"))
            for name, (colour, style) in DEPTHS.items()
        ]
        for cell in cells
    }
    draw_panels(figure, panels, frequencies)
    return figure


def _why(record: Record, cells: list[str]) -> Figure:
    """Plot signal and gradient by layer, and the plain RNN's gradient by layer and time, before training."""
    reach, hidden = record["results"]["reach"], record["settings"]["hidden"]
    plain = reach[f"rnn, {SIX}"]
    factor = (plain["signal"][-1] / plain["signal"][0]) ** 0.2
    ratio = {name: reach[f"rnn, {name}"]["weights"][0] / reach[f"rnn, {name}"]["head"] for name in (SIX, XAVIER)}
    title = (
        f"Before training a plain layer passes on {factor:.3f} of its input (0.01 sqrt({hidden}) is {0.01 * hidden**0.5:.3f}): "
        f"the bottom layer gets {short(ratio[SIX], 1)} of the output bias's gradient, "
        f"with Xavier's weights {short(ratio[XAVIER], 1)}"
    )
    figure = new_figure(record, title, 6)
    (signal, gradient), maps = figure.subplots(2, 2)
    layers = range(1, 7)
    for axes, name in ((signal, "signal"), (gradient, "gradient")):
        ends = []
        for start, style in ((SIX, "o-"), (XAVIER, "s--")):
            for cell in cells:
                values = reach[f"{cell}, {start}"][name]
                axes.semilogy(layers, values, style, ms=3.5, color=COLOURS[cell])
                ends.append((values[-1], f"{NAMES[cell]}{', Xavier' if start == XAVIER else ''}", COLOURS[cell]))
        steps = range(6) if name == "signal" else range(5, -1, -1)
        first = plain[name][0 if name == "signal" else -1]
        theory = [first * (0.01 * hidden**0.5) ** k for k in steps]
        axes.semilogy(layers, theory, ":", color=COLOURS["theory"])
        ends.append((theory[-1], "theory", COLOURS["theory"]))
        if axes is signal:  # the gradients have the same colours and styles, and meet at the right
            label_ends(axes, ends, line=0.08)
        axes.set_xlabel("layer, from the input up")
    signal.set_title("root mean square of a layer's output")
    gradient.set_title("gradient of the loss by a layer's output")
    for axes, start, label in zip(
        maps, (SIX, XAVIER), ("gradient of the last loss, plain RNN", "the same with Xavier's weights"), strict=True
    ):
        back = np.log10(np.maximum(reach[f"rnn, {start}"]["back"], 1e-30))  # (layers, steps)
        back[-1, 1:] = np.nan  # earlier outputs of the top layer do not affect the last score
        extent = (-0.5, back.shape[1] - 0.5, 0.5, 6.5)
        image = axes.imshow(back, origin="lower", aspect="auto", vmin=FAINTEST, vmax=0, extent=extent, cmap="viridis")
        axes.set_title(label)
        axes.set_xlabel("steps back")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("layer")
    figure.colorbar(image, ax=maps, label="log10 of its norm")
    return figure
