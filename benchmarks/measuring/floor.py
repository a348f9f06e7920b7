"""The least time that a step of a persistent recurrent sweep can take on a chip, whatever its tiles.

    python -m benchmarks.measuring.floor            # microseconds a step, H 64-2048 by B 1-256, LSTM forward in bf16 on the H100
    python -m benchmarks.measuring.floor --check    # beside published figures

Costs are those of `fusedrnn.backends.cost`, for every tile of units and samples, with half of the registers free for weights
and perhaps a better exchange than today's. The floor is computed from published numbers; it was never measured.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from benchmarks.measuring.cases import DTYPES
from benchmarks.measuring.published import FIGURES
from fusedrnn.backends import cost
from fusedrnn.backends.chips import CHIPS, SHARED_PORT, Chip
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.rows import Row, waves

WIDTHS = (64, 128, 256, 512, 768, 1024, 2048)
BATCHES = (1, 16, 32, 64, 128, 256)
UNITS = (4, 8, 16, 32, 64, 128, 256)
SAMPLES = (8, 16, 32, 64, 128, 256)
TOGETHER = (1, 2, 4)  # programs that share an SM
CLUSTER_CYCLES = 180  # round trip between SMs of a cluster, H100: Luo et al. 2024, arXiv 2402.13499.
OPERAND_BYTES = 16_384  # shared memory left for the exchanged states
EXCHANGES = ("flag", "barrier", "cluster")
"""How a step's states change hands: by polling the values themselves, one round trip, as the kernels do; by a counter; through
the shared memory of a cluster of at most 16 SMs."""


@dataclass(frozen=True)
class Floor:
    """The best tiles found, the costs of a step with them, and the seconds of a step of the whole batch, waves included."""

    row: Row
    step: cost.Step
    seconds: float


def tiles(row: Row) -> str:
    """A row's units and samples, in words."""
    return f"{row.units}x{row.samples}{' streamed' if row.weights == 'streamed' else ''}"


def exchange_s(chip: Chip, way: str) -> float:
    """Of one exchange."""
    cycles = {"barrier": 2 * chip.l2_cycles + chip.atomic_cycles, "flag": chip.l2_cycles, "cluster": CLUSTER_CYCLES}
    return cycles[way] / chip.clock


def _candidates(chip: Chip, layer: Layer, way: str) -> Iterator[tuple[Row, float]]:
    """Tiles whose lane fits on the chip, with the bytes of weights that registers hold."""
    registers = chip.registers * 4 // 2
    for units in UNITS:
        if units > 4 and units >= 2 * layer.H:
            continue
        slices = -(-layer.H // units)
        if slices > chip.multiprocessors or (way == "cluster" and slices > 16):
            continue
        weights = units * layer.gates * layer.H * layer.dtype.itemsize
        room = chip.shared_bytes - OPERAND_BYTES + registers
        for samples, together in itertools.product(SAMPLES, TOGETHER):
            if (samples == SAMPLES[0] or samples < 2 * layer.B) and (together == 1 or together * weights <= room):
                place = "streamed" if weights > room else "alone" if slices == 1 else "shared"
                row = Row(units, samples, layer.H, 1, place, 4, per_sm=together)
                yield row, min(weights, registers / together)


def best(chip: Chip, sweep: str, layer: Layer, way: str = "flag") -> Floor | None:
    """The floor over all tiles; None where no lane of any tile fits on the chip (or in a cluster) together."""
    found: list[Floor] = []
    for row, in_registers in _candidates(chip, layer, way):
        one = cost.step(chip, sweep, layer, row)
        if row.weights != "streamed":
            weights = row.units * layer.gates * layer.H * layer.dtype.itemsize - in_registers
            one = replace(one, weights=max(0.0, weights / (SHARED_PORT * chip.clock)))
        if one.exchange:
            one = replace(one, exchange=cost.EXCHANGES[layer.cell] * exchange_s(chip, way))
        rounds = waves(row, layer.H, layer.B, layer.D, chip.multiprocessors)
        found.append(Floor(row, one, rounds * one.seconds))
    return min(found, key=lambda floor: floor.seconds, default=None)


def call_s(chip: Chip, sweep: str, layer: Layer, way: str = "flag") -> float | None:
    """The floor of a whole call: every step of every layer, and the products over all steps."""
    floor = best(chip, sweep, layer, way)
    return None if floor is None else layer.L * layer.T * floor.seconds + layer.products_s(chip, sweep)


def table(chip: Chip, cell: str, dtype: torch.dtype, sweep: str, way: str) -> str:
    """Microseconds a step by H and B, with the tiles and the largest cost."""

    def shown(H: int, B: int) -> str:
        floor = best(chip, sweep, Layer(cell, dtype, T=1, B=B, I=H, H=H), way)
        return f"{floor.seconds * 1e6:.2f} {tiles(floor.row)}, {floor.step.bound}" if floor else "does not fit"

    lines = ["| H | " + " | ".join(f"B={B}" for B in BATCHES) + " |", "|---" * (1 + len(BATCHES)) + "|"]
    lines += [f"| {H} | " + " | ".join(shown(H, B) for B in BATCHES) + " |" for H in WIDTHS]
    return "\n".join(lines)


def check() -> list[dict[str, float | str]]:
    """Every published figure beside the floor of its call, exchange by counter, and how far above it is."""
    rows: list[dict[str, float | str]] = []
    for figure in FIGURES:
        chip = CHIPS[figure.capability]
        forward, backward = (call_s(chip, sweep, figure.layer, "barrier") for sweep in ("forward", "backward"))
        if forward is None or backward is None:
            raise ValueError(f"{figure.implementation}: expected a floor on {chip.name}, got none")
        passes = (("forward", figure.forward_ms, forward), ("training", figure.training_ms, forward + backward))
        for name, measured, floor in passes:
            rows.append({
                "implementation": figure.implementation, "pass": name, "published_ms": measured, "floor_ms": floor * 1e3,
                "ratio": measured / (floor * 1e3), "source": figure.source,
            })  # fmt: skip
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or the comparison with published figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    archs = [10 * major + minor for major, minor in CHIPS]
    parser.add_argument("--arch", type=int, default=90, choices=archs)
    parser.add_argument("--cell", default="lstm", choices=list(cost.EXCHANGES))
    parser.add_argument("--dtype", default="bf16", choices=list(DTYPES))
    parser.add_argument("--sweep", default="forward", choices=["forward", "backward"])
    parser.add_argument("--exchange", default="flag", choices=EXCHANGES)
    parser.add_argument("--check", action="store_true", help="published figures beside their floors")
    asked = parser.parse_args(arguments)
    if asked.check:
        for row in check():
            print(
                f"{row['implementation']:42} {row['pass']:8} {row['published_ms']:7.2f} ms, floor {row['floor_ms']:5.2f} ms, "
                f"published / floor {row['ratio']:6.1f}"
            )
        return
    chip = CHIPS[divmod(asked.arch, 10)]
    print(
        f"{asked.cell} {asked.sweep}, {asked.dtype}, {chip.name}, {asked.exchange} exchange: µs a step (tiles, bound)\n"
    )
    print(table(chip, asked.cell, DTYPES[asked.dtype], asked.sweep, asked.exchange))


if __name__ == "__main__":
    main()
