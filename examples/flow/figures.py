"""The figures of `examples/gradients.py`."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from examples.common.figures import new_figure

from .activations import ACTIVATIONS
from .clipping import Training
from .initial import VARIANCE, gain
from .layers import Flow
from .mean_field import largest_singular_value
from .symmetry import Symmetry
from .time import Decay

Pair = tuple[str, str]  # activation, initialisation
COLOURS = {initialisation: f"C{number}" for number, initialisation in enumerate(VARIANCE)}
DOTS = {"linestyle": "", "marker": "o", "markersize": 3.5}
RINGS = {**DOTS, "markersize": 8, "fillstyle": "none"}  # for an initialisation with the same values as another


def draw_depth(flows: Mapping[Pair, Flow], theory: Mapping[Pair, Tensor]) -> Figure:
    """Plot the gradient norm by layer: measured (dots) and theory (lines)."""
    figure = new_figure(10, 7)
    for axes, activation in zip(figure.subplots(2, 2, sharex=True).flat, ACTIVATIONS, strict=True):
        for initialisation, colour in COLOURS.items():
            pair = activation, initialisation
            style = RINGS if initialisation == "xavier" else DOTS
            axes.semilogy(flows[pair].gradient.sqrt(), **style, color=colour, label=initialisation)
            axes.semilogy(theory[pair].sqrt(), color=colour, linewidth=1)
        axes.set_title(activation)
        axes.set_xlabel("layer (the loss is at the right)")
        axes.set_ylabel("gradient norm dL/dh")
        axes.grid(visible=True, alpha=0.3)
    axes.legend(title="dots measured, lines theory")
    return figure


def draw_singular(flows: Mapping[Pair, Flow], width: int) -> Figure:
    """Plot the range of the Jacobian's singular values by the number of layers it spans."""
    figure = new_figure(10, 7)
    for axes, activation in zip(figure.subplots(2, 2, sharex=True).flat, ACTIVATIONS, strict=True):
        for initialisation in ("xavier", "orthogonal"):
            values = flows[activation, initialisation].singular.flip(0).clamp(min=1e-13)  # (distances, width)
            colour, distances = COLOURS[initialisation], range(len(values))
            axes.fill_between(distances, values[:, -1], values[:, 0], color=colour, alpha=0.25)
            axes.semilogy(values[:, width // 2], color=colour, label=f"{initialisation}: median, least to largest")
        if activation == "linear":
            edge = [largest_singular_value(gain("xavier", width), L) for L in range(1, len(values))]
            axes.semilogy(range(1, len(values)), edge, "k--", linewidth=1, label="xavier: largest, in theory")
        axes.set_title(activation)
        axes.set_xlabel("layers between")
        axes.set_ylabel("singular values of the Jacobian")
        axes.set_ylim(1e-12, 1e2)
        axes.legend(loc="upper right" if activation == "sigmoid" else "lower left", fontsize="small", framealpha=1)
        axes.grid(visible=True, alpha=0.3)
    return figure


def draw_time(decays: Mapping[str, Decay]) -> Figure:
    """Plot the gradient norm by distance in time: measured (dots) and theory (lines)."""
    figure = new_figure(12, 5)
    plain, gated = figure.subplots(1, 2, sharey=True)
    for number, (name, decay) in enumerate(decays.items()):
        axes, colour = (gated if decay.bound is None else plain), f"C{number}"
        axes.plot(decay.distances, decay.measured, **DOTS, color=colour, label=name)
        axes.plot(decay.distances, decay.theory, color=colour, linewidth=1)
        if decay.bound is not None:
            axes.plot(decay.distances, decay.bound, ":", color=colour, linewidth=1)
    plain.set_title("plain RNN: dots measured, lines estimate, dotted bound")
    gated.set_title("gated cells: dots measured, lines the gate alone")
    for axes in (plain, gated):
        axes.set_xlabel("steps between the state and the loss")
        axes.set_ylabel("log10 of the gradient norm")
        axes.legend(loc="lower left")
        axes.grid(visible=True, alpha=0.3)
    plain.set_ylim(-30, 12)
    return figure


def draw_training(clipped: Training, unclipped: Training, symmetric: Mapping[str, Symmetry]) -> Figure:
    """Plot the length of the steps with and without clipping, and the loss from symmetric initial weights."""
    figure = new_figure(12, 5)
    left, right = figure.subplots(1, 2)
    for name, training in {"not clipped": unclipped, "clipped to norm 1": clipped}.items():
        left.semilogy([min(step, 1e30) for step in training.step], label=name)
    left.set_title("change of the parameters per update")
    left.set_xlabel("update")
    left.set_ylabel("length of the step")
    left.set_ylim(1e-3, 1e12)
    for start, result in symmetric.items():
        right.semilogy(result.loss, label=f"all weights of a layer start {start}")
    right.set_title("two hidden layers of 16 units")
    right.set_xlabel("update")
    right.set_ylabel("mean squared error")
    right.set_ylim(3e-3, 10)
    for axes in (left, right):
        axes.legend(loc="upper right")
        axes.grid(visible=True, alpha=0.3)
    return figure
