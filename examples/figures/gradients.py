"""The figures of `examples/gradients.py`: gradients through layers and through time, singular values, and training."""

import math

import numpy as np
from matplotlib.figure import Figure

from examples.common.figures import COLOURS, GREY, Record, label_ends, new_figure, numbers, short

ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu")
INITIALISATIONS = ("normal", "xavier", "he", "orthogonal")
LEAST = 1e-12  # smaller singular values are not drawn
MOST = 1e12  # longer steps leave the axes
CELLS = {"RNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
MARKERS = "os^D"


def draw(record: Record) -> dict[str, Figure]:
    """Draw the four figures."""
    return {
        "depth.png": _depth(record),
        "singular.png": _singular(record),
        "time.png": _time(record),
        "training.png": _training(record),
    }


def _depth(record: Record) -> Figure:
    """Plot the gradient norm by distance from the loss: measured (dots) and theory (lines)."""
    depth = record["results"]["depth"]
    logs = {name: (np.log10(run["gradient"]), np.log10(run["theory"])) for name, run in depth.items()}
    furthest = max(abs(theory[0]) for _, theory in logs.values())
    apart = max(np.abs(measured - theory).max() for measured, theory in logs.values())
    title = (
        f"The measured gradients (dots) follow mean-field theory (lines) over up to {furthest:.0f} decades: "
        f"the largest deviation is {apart:.2f} of a decade"
    )
    figure = new_figure(record, title, 5.6)
    for axes, activation in zip(figure.subplots(2, 2, sharex=True).flat, ACTIVATIONS, strict=True):
        ends = []
        for initialisation in INITIALISATIONS:
            run, colour = depth[f"{activation}, {initialisation}"], COLOURS[initialisation]
            ring = {"fillstyle": "none", "ms": 6} if initialisation == "xavier" else {"ms": 3}  # orthogonal lies on it
            axes.semilogy(run["gradient"][::-1], ls="", marker="o", color=colour, **ring)
            axes.semilogy(run["theory"][::-1], color=colour, lw=1)
            ends.append((run["gradient"][0], initialisation, colour))
        label_ends(axes, ends)
        axes.set_title(activation)
    for axes in figure.axes[2:]:
        axes.set_xlabel("layers from the loss")
    for axes in figure.axes[::2]:
        axes.set_ylabel("norm of the gradient")
    return figure


def _singular(record: Record) -> Figure:
    """Plot the largest, the median and the smallest singular value of the Jacobian by the layers that it spans."""
    results = record["results"]
    depth = len(results["depth"]["linear, xavier"]["gradient"]) - 1
    ends = {name: results["depth"][f"linear, {name}"]["singular"] for name in ("orthogonal", "xavier")}
    kept = sorted({f"{ends['orthogonal'][name][0]:.4f}" for name in ("least", "largest")})
    spread = math.log10(ends["xavier"]["largest"][0] / max(ends["xavier"]["least"][0], 1e-300))
    title = (
        f"Through {depth} linear layers orthogonal weights keep every singular value at {' to '.join(kept)}; "
        f"with Xavier's weights they spread over {spread:.0f} decades"
    )
    figure = new_figure(record, title, 5.6)
    for axes, activation in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, ACTIVATIONS, strict=True):
        for initialisation in ("xavier", "orthogonal"):
            values = results["depth"][f"{activation}, {initialisation}"]["singular"]
            colour = COLOURS[initialisation]
            for name, style, width in (("largest", "-", 1.6), ("median", "--", 1.2), ("least", ":", 1.2)):
                curve = np.array(values[name][::-1])
                axes.semilogy(np.where(curve > LEAST, curve, np.nan), style, lw=width, color=colour)
        if activation == "linear":
            axes.semilogy(
                range(1, depth + 1), results["edge"], color=COLOURS["theory"], lw=0.8, marker=".", ms=3, ls=""
            )
        axes.set_title(activation if activation != "relu" else "relu: units that are off make most of them zero")
    figure.axes[0].set_ylim(LEAST, 100)
    for axes in figure.axes[2:]:
        axes.set_xlabel("layers between")
    for axes in figure.axes[::2]:
        axes.set_ylabel("singular value of the Jacobian")
    key = figure.axes[1]
    for name, style, colour in (
        ("orthogonal", "-", "orthogonal"),
        ("Xavier", "-", "xavier"),
    ):
        key.plot([], [], style, color=COLOURS[colour], label=name)
    for name, style in (("largest", "-"), ("median", "--"), ("smallest", ":")):
        key.plot([], [], style, color=GREY, label=name)
    key.plot([], [], ".", ms=3, color=COLOURS["theory"], label="largest of Xavier,\nin theory")
    key.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _time(record: Record) -> Figure:
    """Plot the gradient norm by distance in time: measured (dots) and theory (lines)."""
    decays = record["results"]["time"]
    last = {name: short(10 ** decay["measured"][-1], 2) for name, decay in decays.items()}
    title = (
        f"Over {decays['GRU, gate bias 4']['distances'][-1]} steps the plain RNN keeps "
        f"{last['RNN, as torch.nn starts it']} of the gradient and a GRU {last['GRU, as torch.nn starts it']}; "
        f"a GRU with a gate bias of 4 keeps {last['GRU, gate bias 4']}"
    )
    figure = new_figure(record, title, 4)
    panels = dict(zip((False, True), figure.subplots(1, 2, sharey=True), strict=True))
    drawn = np.concatenate([[*decay["measured"], *decay["theory"]] for decay in decays.values()])
    room = 0.06 * (drawn.max() - drawn.min())
    panels[False].set_ylim(drawn.min() - room, drawn.max() + room)
    ends: dict[bool, list[tuple[float, str, str]]] = {False: [], True: []}
    counts = dict.fromkeys(CELLS.values(), 0)
    for name, decay in decays.items():
        cell, _, start = name.partition(", ")
        kind, gated = CELLS[cell], decay["bound"] is None
        colour, axes = COLOURS[kind], panels[gated]
        marker, every = MARKERS[counts[kind]], 1 + len(decay["distances"]) // 30
        counts[kind] += 1
        axes.plot(decay["distances"], decay["measured"], ls="", marker=marker, ms=3, markevery=every, color=colour)
        axes.plot(decay["distances"], decay["theory"], color=colour, lw=1)
        if not gated:
            axes.plot(decay["distances"], decay["bound"], ":", color=GREY, lw=1)
        named = start.replace("as torch.nn starts it", "torch.nn's start").replace("W_hh ", "")
        ends[gated].append((decay["measured"][-1], f"{cell} {named}" if gated else named, colour))
    for gated, axes in panels.items():
        label_ends(axes, ends[gated])
        axes.set_xlabel("steps between the state and the loss")
    panels[False].set_ylabel("log10 of the norm of the gradient")
    panels[False].set_title("plain RNN, by W_hh; dotted: upper bounds")
    panels[True].set_title("gated cells; lines: the gate alone")
    return figure


def _training(record: Record) -> Figure:
    """Plot the length of the steps with and without clipping, and the loss from symmetric initial weights."""
    results = record["results"]
    clipping, symmetry = results["clipping"], results["symmetry"]
    steps = {name: np.array(numbers(clipping[name]["step"])) for name in ("unclipped", "clipped")}
    longest = {name: np.nanmax(values) for name, values in steps.items()}
    without = f"{longest['unclipped']:.0e}" if np.isfinite(longest["unclipped"]) else "infinite"
    title = (
        f"Clipping bounds every step at {longest['clipped']:.3f} where the longest would be {without}; "
        f"weights that start equal stop at an error of {symmetry['constant']['loss'][-1]:.3f}, "
        f"random ones reach {symmetry['random']['loss'][-1]:.3f}"
    )
    figure = new_figure(record, title)
    left, right = figure.subplots(1, 2)
    positive = np.concatenate([values[values > 0] for values in steps.values()])
    low, high = positive.min() / 2, min(2 * positive.max(), MOST)
    ends = []
    for name, colour in (("unclipped", COLOURS["plain"]), ("clipped", COLOURS["clipped"])):
        shown = np.minimum(np.nan_to_num(steps[name], nan=np.inf), 10 * MOST)  # a line to infinity would not be drawn
        left.semilogy(shown, color=colour, lw=1)
        ends.append((shown[-1], "not clipped" if name == "unclipped" else "clipped", colour))
    left.set_ylim(low, high)
    label_ends(left, ends)
    left.set_title("length of a step of the plain RNN, W_hh 2 x orthogonal")
    ends = [(result["loss"][-1], start, COLOURS[start]) for start, result in symmetry.items()]
    for start, result in symmetry.items():
        right.semilogy(result["loss"], color=COLOURS[start], ls="--" if start == "zero" else "-")
    label_ends(right, ends)
    right.set_title("error of two hidden layers, by initial weights")
    for axes in (left, right):
        axes.set_xlabel("update")
    return figure
