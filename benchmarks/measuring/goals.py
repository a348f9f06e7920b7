"""The speed goals, and what the floor model predicts of each: ratios of floors, no measurements.

    python -m benchmarks.measuring.goals --json benchmarks/results/predictions.json

A goal is a ratio, torch.nn's time over ours, that every shape of its regime should reach. Beside it stand three predictions for the
H100, each the smallest over the regime's shapes:

- *rows*: cuDNN's floor over the floor of the launch table's rows;
- *limit*: cuDNN's floor over the best floor that any tiles allow;
- *slow*: the same, with each step of cuDNN's standard path as slow as FlashRNN's step-by-step kernels of the same structure
  (10.5 µs forward, 15.3 µs backward) instead of the floor's 4 µs, and the persistent path as published.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring.cases import DTYPES
from benchmarks.measuring.environment import environment
from benchmarks.measuring.floor import best, call_s, tiles
from benchmarks.measuring.records import Record, Row
from fusedrnn.backends import cost, cudnn
from fusedrnn.backends.chips import CHIPS, Chip
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.rows import Row as Launch
from fusedrnn.kernels.table import choose

CAPABILITY = (9, 0)
STEP_S = {"forward": 10.5e-6, "backward": 15.3e-6}
"""FlashRNN 1.0.8, alternating kernels, a step: (10.8 ms, 26.5 ms - 10.8 ms) / 1024, rounded down; see `published`."""
PERSISTENT = {"forward": 2.01e-3 / 1024, "backward": 3.18e-3 / 1024}
"""torch.nn.LSTM in fp16, a step, as FlashRNN timed it."""
SWEEPS = ("forward", "backward")


@dataclass(frozen=True)
class Goal:
    """A regime: its shapes, and the ratios wanted forward and for training (forward and backward)."""

    regime: str
    layers: tuple[Layer, ...]
    forward: float
    training: float


@dataclass(frozen=True)
class Prediction:
    """The smallest ratios over the shapes of a regime."""

    regime: str
    passes: str
    goal: float
    rows: float
    limit: float
    slow: float
    where: Layer  # the shape whose `rows` is the smallest
    persistent: bool  # cuDNN takes a persistent algorithm somewhere in the regime
    tiles: str  # at `where`, units x samples of a program, the rows' and the limit's, in the last sweep

    @property
    def verdict(self) -> str:
        """What the model says of the goal."""
        if self.rows >= self.goal:
            return "within reach of today's rows, if they end near their floor"
        if self.limit >= self.goal:
            return "out of reach of today's rows; other tiles could"
        if self.persistent:
            return "not decided by floors: cuDNN keeps the weights on chip too"
        if self.slow >= self.goal:
            return "only if cuDNN is well above its own floor"
        return "out of reach of any tiles with this exchange"


def _shapes(
    cells: tuple[str, ...], dtype: torch.dtype, widths: tuple[int, ...], batches: tuple[int, ...], **more: int | bool
) -> tuple[Layer, ...]:
    made = [Layer(c, dtype, T=512, B=B, I=H, H=H) for c in cells for H in widths for B in batches]
    return tuple(Layer(**{**vars(layer), **more}) for layer in made)


SHAPE = ("cell", "dtype", "H", "B", "D", "L", "input")
"""The columns of a case that say which shape of a goal it is, whatever its T."""


def shape_of(layer: Layer) -> tuple[Any, ...]:
    """The values of `SHAPE`."""
    dtype = {value: name for name, value in DTYPES.items()}[layer.dtype]
    return (layer.cell, dtype, layer.H, layer.B, layer.D, layer.L, "packed" if layer.packed else "dense")


BOTH, BF16, FP16 = ("gru", "lstm"), torch.bfloat16, torch.float16
MIDDLE, WIDE = (256, 512), (256, 512, 768, 1024)
GOALS = (
    Goal("GRU and LSTM bf16, H 256-512, B <= 64", _shapes(BOTH, BF16, (256, 512), (1, 16, 32, 64)), 4, 3),
    Goal("H 768-1024, B <= 128, bf16", _shapes(BOTH, BF16, (768, 1024), (1, 16, 32, 64, 128)), 2, 1.7),
    Goal("LSTM fp16 inside cuDNN's persistent box", _shapes(("lstm",), FP16, WIDE, (16, 32, 64, 128)), 1.15, 1.15),
    Goal("H <= 128", _shapes(BOTH, BF16, (64, 128), (1, 16, 32, 64)), 3, 2),
    Goal(
        "bidirectional, 2-4 layers, bf16",
        _shapes(BOTH, BF16, MIDDLE, (32, 64), D=2, L=2) + _shapes(BOTH, BF16, MIDDLE, (32, 64), D=2, L=4),
        5,
        4,
    ),
    Goal("packed, T >= 500", _shapes(BOTH, BF16, (256, 512), (32, 64), packed=True), 10, 10),
    Goal("fp32 (TF32), H 256-512", _shapes(BOTH, torch.float32, (256, 512), (16, 32, 64)), 2.5, 2),
)


def _row(chip: Chip, layer: Layer, sweep: str) -> Launch:
    return choose(sweep, layer.cell, layer.dtype, layer.H, layer.B, layer.D, CAPABILITY, chip.multiprocessors)


def _ours(chip: Chip, layer: Layer, sweep: str) -> tuple[float, float]:
    """The floor of the table's row, and of the best tiles."""
    rows, limit = cost.ours_s(chip, sweep, layer, _row(chip, layer, sweep)), call_s(chip, sweep, layer)
    return rows, rows if limit is None else min(limit, rows)


def _theirs(chip: Chip, layer: Layer, sweep: str) -> tuple[float, float]:
    """The floor, and the slow estimate."""
    floor, path = cost.theirs_s(chip, CAPABILITY, sweep, layer)
    each = {cudnn.STANDARD: STEP_S[sweep], cudnn.PERSIST_STATIC: PERSISTENT[sweep], cudnn.SMALL_H: 0.0}[path]
    return floor, max(floor, layer.T * layer.D * layer.L * each)


def ours_s(layer: Layer, sweeps: tuple[str, ...]) -> float:
    """The floor of the table's rows on the H100, over the sweeps of a call."""
    return sum(_ours(CHIPS[CAPABILITY], layer, sweep)[0] for sweep in sweeps)


def theirs_s(layer: Layer, sweeps: tuple[str, ...]) -> float:
    """The slow estimate of cuDNN on the H100, over the sweeps of a call."""
    return sum(_theirs(CHIPS[CAPABILITY], layer, sweep)[1] for sweep in sweeps)


def _tiles(chip: Chip, layer: Layer, sweep: str) -> str:
    """The row's tiles, and the limit's with what bounds it."""
    row, floor = tiles(_row(chip, layer, sweep)), best(chip, sweep, layer)
    return row if floor is None else f"{row} to {tiles(floor.row)} ({floor.step.bound})"


def _ratios(chip: Chip, layer: Layer, sweeps: tuple[str, ...]) -> tuple[float, float, float]:
    rows, limit = map(sum, zip(*(_ours(chip, layer, sweep) for sweep in sweeps), strict=True))
    floor, slow = map(sum, zip(*(_theirs(chip, layer, sweep) for sweep in sweeps), strict=True))
    return floor / rows, floor / limit, slow / limit


def predict(goal: Goal) -> list[Prediction]:
    """Forward and training predictions of a goal."""
    chip = CHIPS[CAPABILITY]
    paths = {cudnn.path(layer, CAPABILITY, chip.multiprocessors, "forward") for layer in goal.layers}
    predictions = []
    for passes, wanted, sweeps in (("forward", goal.forward, SWEEPS[:1]), ("training", goal.training, SWEEPS)):
        ratios = {layer: _ratios(chip, layer, sweeps) for layer in goal.layers}
        where = min(ratios, key=lambda layer: ratios[layer][0])
        smallest = map(min, zip(*ratios.values(), strict=True))
        about = (where, paths != {cudnn.STANDARD}, _tiles(chip, where, sweeps[-1]))
        predictions.append(Prediction(goal.regime, passes, wanted, *smallest, *about))
    return predictions


def rows() -> list[Row]:
    """Every goal beside its predictions, as rows of a record."""
    found: list[Row] = []
    for p in (p for goal in GOALS for p in predict(goal)):
        deep = f" D={p.where.D} L={p.where.L}" if p.where.D > 1 else ""
        found.append({
            "key": f"goal: {p.regime}, {p.passes}", "peer": "floor model", "measured": False, "regime": p.regime,
            "passes": p.passes, "goal": p.goal, "rows_ratio": round(p.rows, 2), "limit_ratio": round(p.limit, 2),
            "slow_ratio": round(p.slow, 2), "worst": f"{p.where.cell} H={p.where.H} B={p.where.B}{deep}",
            "tiles": p.tiles, "verdict": p.verdict,
        })  # fmt: skip
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print the predictions, and write them as a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the record goes")
    asked = parser.parse_args(arguments)
    found = rows()
    for row in found:
        print(
            f"{row['key']:62} goal {row['goal']:5g}  rows {row['rows_ratio']:6.2f}  limit {row['limit_ratio']:6.2f}  "
            f"slow cuDNN {row['slow_ratio']:6.2f}  {row['worst']}: {row['tiles']}  {row['verdict']}"
        )
    if asked.json:
        told = {**environment(torch.device("cpu")), "chip": CHIPS[CAPABILITY].name, "measured": False}
        Record(told, found).save(asked.json)


if __name__ == "__main__":
    main()
