"""A floor model of the sweeps' time, and the choice between them and torch's own RNN that follows from it.

What it is: a lower bound from published numbers of the chip (`chips`), step by step: the exchange of the state between programs,
the latency of a step's dependent instructions, and the traffic and arithmetic that no schedule avoids, overlapped as well as
they could be. What it is not: a prediction of the time. It knows nothing of instruction scheduling, bank conflicts, clocks
under load or a busy GPU, and no GPU has been held against it.

Per step of one program, with a tile of u units and b samples, which it computes whole even where B or H leave part of it empty:

    exchange   the state stored and read, one L2 round trip in all; none where one program has all units
    latency    product, gates, barriers: what one step waits for even with no work
    operand    the state (forward) or the dgates (backward) of b samples, from L2
    weights    u G H numbers, read from shared memory, or from L2 (DRAM where they do not fit there); nothing in registers
    tensor     2 u b G H operations
    special    exponentials and reciprocals of the gates
    memory     gx, states and gates of the step, from and to DRAM; overlaps all of the above

    step = max(exchange + latency + max(operand, weights, tensor) + special, memory)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusedrnn.backends import cudnn
from fusedrnn.backends.chips import LAUNCH_S, SHARED_PORT, SPECIAL_UNITS, Chip
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.table import Row, slices

LATENCY_CYCLES = 280
"""Of a step that does next to nothing: two trips through shared memory (30 each), three barriers (20), a short product (35) and a
chain of two gate functions (60 to 70 each); instruction latencies of Luo et al. 2024."""
EXCHANGES = {name: cell.phases for name, cell in NUMBERS.items()}
"""A step's."""
OTHER_LAUNCHES = {"forward": 5, "backward": 12}
"""Kernels of a layer beside the sweep: products over all steps, copies of states, the pattern in what is exchanged."""
MARGIN = 1.5
"""How far above its own floor a sweep may end and still must beat the floor of torch's RNN, for `decide` to choose it."""


@dataclass(frozen=True)
class Step:
    """Seconds of one step of one wave of programs, by cause; the module's docstring defines each."""

    exchange: float
    latency: float
    operand: float
    weights: float
    tensor: float
    special: float
    memory: float

    @property
    def seconds(self) -> float:
        """Of the step."""
        chain = self.exchange + self.latency + max(self.operand, self.weights, self.tensor) + self.special
        return max(chain, self.memory)

    @property
    def bound(self) -> str:
        """The largest cause."""
        return max(vars(self), key=lambda name: float(vars(self)[name]))


@dataclass(frozen=True)
class Decision:
    """Who should serve a call. `backend` is "triton" or "aten"; both times are floors, in seconds."""

    backend: str
    reason: str
    ours_s: float
    theirs_s: float


def lanes(layer: Layer, row: Row) -> tuple[int, int]:
    """Programs of a lane (a batch tile of one direction), and lanes."""
    return slices(row, layer.H), -(-layer.B // row.samples) * layer.D


def waves(chip: Chip, layer: Layer, row: Row) -> tuple[int, int]:
    """How many launches run one after the other for all lanes, and lanes in each; as `launch.run` cuts them."""
    slices, count = lanes(layer, row)
    together = max(1, chip.multiprocessors * row.per_sm // slices)
    return -(-count // together), min(together, count)


def step(chip: Chip, sweep: str, layer: Layer, row: Row) -> Step:
    """The floor of one step of one wave of lanes, `sweep` "forward" or "backward"."""
    slices, _ = lanes(layer, row)
    _, together = waves(chip, layer, row)
    programs = min(slices * together, chip.multiprocessors * row.per_sm)
    crowd = -(-programs // chip.multiprocessors)  # programs that share an SM, its tensor cores and its ports
    cell = NUMBERS[layer.cell]
    size, H, G = layer.dtype.itemsize, layer.H, cell.gates
    units, samples = row.units, min(row.samples, layer.B)
    operand = H * samples * size * (G if sweep == "backward" else 1)
    weights = min(units, H) * G * H * size
    matrix = G * H * H * size
    alone = row.weights == "alone"
    if alone or row.weights == "registers":
        reading = 0.0
    elif row.weights == "shared":
        reading = crowd * weights / (SHARED_PORT * chip.clock)
    else:  # every lane reads the whole matrix; what L2 cannot hold comes from DRAM once a step
        missed = matrix * layer.D / chip.dram if matrix * layer.D > chip.l2_bytes else 0.0
        reading = max(crowd * weights / chip.port, matrix * together / chip.l2, missed)
    saved = cell.saved * H
    forward_width = G * H + H + saved + (H if cell.has_c else 0)
    backward_width = 2 * saved + 2 * H + (2 * H if cell.has_c else 0)
    width = forward_width if sweep == "forward" else backward_width
    specials = cell.forward_specials if sweep == "forward" else cell.backward_specials
    rows = min(together * samples, layer.B * layer.D)
    return Step(
        exchange=0.0 if alone else cell.phases * chip.l2_cycles / chip.clock,
        latency=cell.phases * LATENCY_CYCLES / chip.clock,
        operand=0.0 if alone else max(crowd * operand / chip.port, operand * programs / chip.l2),
        weights=reading,
        tensor=crowd * 2.0 * units * row.samples * G * H / (chip.rates[layer.numbers] / chip.multiprocessors),
        special=crowd * specials * units * row.samples / (SPECIAL_UNITS * chip.clock),
        memory=rows * width * size / chip.dram,
    )


def sweep_s(chip: Chip, sweep: str, layer: Layer, row: Row) -> float:
    """The floor of all sweeps of a call, its `L` layers one after the other; the products over all steps are not in it.

    Where a lane's programs do not fit on the chip together, every step is a launch of all lanes.
    """
    slices, count = lanes(layer, row)
    one = step(chip, sweep, layer, row).seconds
    if slices > chip.multiprocessors * row.per_sm:
        rounds = -(-slices * count // (chip.multiprocessors * row.per_sm))
        return layer.L * layer.T * EXCHANGES[layer.cell] * max(LAUNCH_S, rounds * one)
    rounds, _ = waves(chip, layer, row)
    return layer.L * (rounds * (layer.T * one + LAUNCH_S))


def ours_s(chip: Chip, sweep: str, layer: Layer, row: Row) -> float:
    """The floor of a call on the Triton sweeps."""
    others = layer.L * OTHER_LAUNCHES[sweep] * LAUNCH_S
    return sweep_s(chip, sweep, layer, row) + max(others, layer.products_s(chip, sweep))


def theirs_s(chip: Chip, capability: tuple[int, int], sweep: str, layer: Layer) -> tuple[float, str]:
    """The floor of a call on torch's own RNN, and the cuDNN algorithm it takes.

    The persistent algorithms keep the weights on chip as ours do: one SM a batch tile up to H=192 (no exchange), else all of them
    with the exchange; their floor is a step without weights or special functions.
    """
    taken = cudnn.path(layer, capability, chip.multiprocessors, sweep)
    if taken == cudnn.STANDARD:
        return cudnn.standard_s(layer, chip, sweep), taken
    cycles = LATENCY_CYCLES + (2 * chip.l2_cycles + chip.atomic_cycles if taken == cudnn.PERSIST_STATIC else 0)
    operand = layer.B * layer.H * layer.dtype.itemsize / chip.port if taken == cudnn.PERSIST_STATIC else 0.0
    arithmetic = 2.0 * layer.B * layer.gates * layer.H * layer.H / chip.rates[layer.numbers]
    each = cycles / chip.clock + max(operand, arithmetic)
    steps = layer.T * layer.L * (1 if taken == cudnn.SMALL_H else layer.D)
    return steps * each + LAUNCH_S + layer.products_s(chip, sweep), taken


def decide(
    chip: Chip | None, capability: tuple[int, int], layer: Layer, forward: Row, backward: Row | None = None
) -> Decision:
    """Who should serve a call: the sweeps launched as `forward` (and `backward`, when training) say, or torch's own RNN.

    The sweeps are chosen where even `MARGIN` times their floor is below the floor of torch's RNN; that is the only thing two
    floors can say. `gru_before` is a cell that torch does not have.
    """
    if chip is None:
        return Decision("aten", f"floor model: no published numbers for sm_{capability[0]}{capability[1]}", 0.0, 0.0)
    sweeps: list[tuple[str, Any]] = [("forward", forward), *([("backward", backward)] if backward else [])]
    ours = sum(ours_s(chip, sweep, layer, row) for sweep, row in sweeps)
    each = [theirs_s(chip, capability, sweep, layer) for sweep, _ in sweeps]
    theirs, paths = sum(seconds for seconds, _ in each), " and ".join(dict.fromkeys(taken for _, taken in each))
    if layer.cell == "gru_before":
        return Decision("triton", "floor model not asked: torch has no reset-before GRU", ours, theirs)
    wins = MARGIN * ours < theirs
    says = f"{ours * 1e3:.3g} ms against at least {theirs * 1e3:.3g} ms for cuDNN's {paths} path on {chip.name}"
    verdict = f"wins even at {MARGIN} times its floor" if wins else f"may lose at {MARGIN} times its floor"
    return Decision("triton" if wins else "aten", f"floor model: {verdict}, {says}", ours, theirs)
