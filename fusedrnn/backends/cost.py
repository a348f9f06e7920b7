"""A lower bound (floor) on the time of the sweeps, and on that of torch's own RNN.

It says which launch rows are worth measuring, and what the speed goals may expect (`benchmarks`).

The floor is computed step by step from published numbers of the chip (`chips`): the exchange of the state between programs,
the latency of a step's dependent instructions, and the memory traffic and arithmetic that cannot be avoided, with the best
possible overlap. It does not predict the time: it ignores instruction scheduling, bank conflicts, clocks under load and other
work on the GPU, and it has not been compared with measurements on a GPU.

Per step of one program, with a tile of u units and b samples (always computed whole, even if it extends past H or B):

    exchange   storing and loading the state: one L2 round trip per phase; 0 if one program has all units
    latency    dependent instructions of product, gates and barriers: the time of a step with almost no work
    operand    reading the state (forward) or the dgates (backward) of b samples from L2
    weights    reading u G H numbers from shared memory, or from L2 (DRAM if they do not fit); 0 if they are in registers
    tensor     2 u b G H operations
    special    exponentials and reciprocals of the gates
    memory     gx, states and gates of the step, from and to DRAM; overlaps all of the above

    step = max(exchange + latency + max(operand, weights, tensor) + special, memory)
"""

from __future__ import annotations

from dataclasses import dataclass

from fusedrnn.backends import cudnn
from fusedrnn.backends.chips import LAUNCH_S, SHARED_PORT, SPECIAL_UNITS, Chip
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import Row, at_once, fits, lanes, slices, waves

LATENCY_CYCLES = 280
"""Cycles of a step with almost no work: two round trips through shared memory (30 each), three barriers (20), a short product
(35) and a chain of two gate functions (60 to 70 each); instruction latencies of Luo et al. 2024."""
EXCHANGES = {name: cell.phases for name, cell in NUMBERS.items()}
"""Exchanges per step, by cell."""
OTHER_LAUNCHES = {"forward": 5, "backward": 12}
"""Kernels per layer besides the sweep: products over all steps, copies of states, filling exchanged tensors with the pattern."""


@dataclass(frozen=True)
class Step:
    """Seconds of one step of one wave of programs, by cause; the causes are defined in the module's docstring."""

    exchange: float
    latency: float
    operand: float
    weights: float
    tensor: float
    special: float
    memory: float

    @property
    def seconds(self) -> float:
        """Time of the step."""
        chain = self.exchange + self.latency + max(self.operand, self.weights, self.tensor) + self.special
        return max(chain, self.memory)

    @property
    def bound(self) -> str:
        """The cause with the longest time."""
        return max(vars(self), key=lambda name: float(vars(self)[name]))


def step(chip: Chip, sweep: str, layer: Layer, row: Row) -> Step:
    """Floor of one step of one wave of lanes; `sweep` is "forward" or "backward"."""
    together = min(at_once(row, layer.H, chip.multiprocessors), lanes(row, layer.B, layer.D))
    programs = min(slices(row, layer.H) * together, chip.multiprocessors * row.per_sm)
    crowd = -(-programs // chip.multiprocessors)  # programs that share the tensor cores and the bandwidth of an SM
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
    else:  # every lane reads the whole matrix; if it does not fit in L2, it comes from DRAM once per step
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
    """Floor of the sweeps of all `L` layers, one after the other, without the products over all steps.

    If the programs of a lane do not fit on the chip at the same time, every phase of every step is one launch of all lanes.
    """
    one = step(chip, sweep, layer, row).seconds
    if not fits(row, layer.H, chip.multiprocessors):
        programs = slices(row, layer.H) * lanes(row, layer.B, layer.D)
        rounds = -(-programs // (chip.multiprocessors * row.per_sm))
        return layer.L * layer.T * EXCHANGES[layer.cell] * max(LAUNCH_S, rounds * one)
    rounds = waves(row, layer.H, layer.B, layer.D, chip.multiprocessors)
    return layer.L * (rounds * (layer.T * one + LAUNCH_S))


def ours_s(chip: Chip, sweep: str, layer: Layer, row: Row) -> float:
    """Floor of a call that uses the Triton sweeps."""
    others = layer.L * OTHER_LAUNCHES[sweep] * LAUNCH_S
    return sweep_s(chip, sweep, layer, row) + max(others, layer.products_s(chip, sweep))


def theirs_s(chip: Chip, capability: tuple[int, int], sweep: str, layer: Layer) -> tuple[float, str]:
    """Floor of a call that uses torch's own RNN, and the cuDNN algorithm that torch requests.

    The persistent algorithms also keep the weights on chip: in one SM per batch tile up to H=192 (no exchange), else in all SMs,
    with an exchange. Their floor is a step without reading weights and without special functions.
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
