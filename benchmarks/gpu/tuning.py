"""A bounded search for better launch rows: variants of the table's row, those the floor model likes best first.

A variant's results are compared with those of the table's row before it is timed beside it.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.waiting import late_error, usable, wait
from benchmarks.measuring.cases import DTYPES
from benchmarks.measuring.environment import gpu_of
from benchmarks.measuring.peers import TOLERANCE, error
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import clock_for, paired, ratio_columns, time_columns
from fusedrnn.backends import cost
from fusedrnn.backends.chips import CHIPS, Chip
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.rows import ROOM, filled, registers, shared_bytes, slices
from fusedrnn.kernels.rows import Row as Launch
from fusedrnn.kernels.table import choose

UNROLLED = 32
"""Chunks of weights, of all gates, whose products are unrolled in a kernel: more take long to compile."""
GAIN = 1.03  # a variant is proposed if even the 20th percentile of its ratios to the table's row is above this


@dataclass(frozen=True)
class Tune:
    """One sweep to tune: `sweep` "forward" or "backward", `dtype` a key of `DTYPES`; steps, samples, units, directions."""

    sweep: str
    cell: str
    dtype: str
    T: int
    B: int
    H: int
    D: int = 1

    @property
    def key(self) -> str:
        """Its name in records."""
        return f"tune: {self.sweep} of {self.cell} {self.dtype} T{self.T} B{self.B} H{self.H} D{self.D}"

    @property
    def layer(self) -> Layer:
        """As the model takes it."""
        return Layer(self.cell, DTYPES[self.dtype], self.T, self.B, self.H, self.H, self.D)

    def table_row(self, capability: tuple[int, int] | None, multiprocessors: int) -> Launch:
        """The launch table's choice."""
        about = (self.sweep, self.cell, DTYPES[self.dtype], self.H, self.B, self.D)
        return choose(*about, capability, multiprocessors)


def shapes() -> list[Tune]:
    """What is tuned, the most wanted first."""
    sizes = ((512, 32), (256, 32), (1024, 64), (512, 64), (128, 32), (768, 16), (2048, 32))
    wanted = itertools.product(sizes, ("gru", "lstm"), ("forward", "backward"))
    return [Tune(sweep, cell, "bf16", T=256, B=B, H=H) for (H, B), cell, sweep in wanted]


def variants(row: Launch, H: int) -> Iterator[Launch]:
    """Rows with other samples, warps and groups than `row`, and of several programs where one is alone."""
    bases = [row]
    if row.weights == "alone":
        bases.append(replace(row, units=16, weights="registers"))
    for base, samples, warps, group in itertools.product(bases, (8, 16, 32), (1, 2, 4, 8), (1, 2, 4, 8)):
        new = filled(replace(base, samples=samples, warps=warps, group=group), H)
        if base.weights in ("alone", "streamed"):
            new = replace(new, group=base.group)  # they poll nothing, or a chunk at a time
        if new != row and (group == 1 or new.group == group) and (new.weights != "alone" or 16 * warps <= new.units):
            yield new


def candidates(chip: Chip, tune: Tune, row: Launch, count: int, without: frozenset[str] = frozenset()) -> list[Launch]:
    """The `count` variants that the floor model likes best among those that fit on the chip, less those of the forms `without`."""
    layer = tune.layer

    def fits(new: Launch) -> bool:
        needed = shared_bytes(new, layer.cell, layer.dtype.itemsize)
        if registers(new, tune.sweep, layer.cell) > ROOM or needed > chip.shared_bytes:
            return False
        return slices(new, layer.H) <= chip.multiprocessors and layer.gates * new.chunks <= UNROLLED

    fitting = [new for new in variants(row, layer.H) if fits(new)]
    best = sorted(fitting, key=lambda new: cost.sweep_s(chip, tune.sweep, layer, new))[:count]
    return [new for new in best if new.weights not in without]


def problem(tune: Tune, device: torch.device) -> Callable[[Launch], list[Tensor]]:
    """The sweep as a function of its row, on random tensors."""
    from fusedrnn.kernels import sweeps

    torch.manual_seed(0)
    layer = tune.layer
    T, B, H, D, G = layer.T, layer.B, layer.H, layer.D, layer.gates

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=layer.dtype)

    gx, h0, w_hh, b_hh = draw(T, B, D, G * H), draw(D, B, H), draw(D, G * H, H) / H**0.5, draw(D, G * H)
    c0 = draw(D, B, H) if tune.cell == "lstm" else None

    def forward(row: Launch | None) -> Any:
        return sweeps.forward(tune.cell, gx, h0, c0, w_hh, b_hh, None, row, save=True)

    if tune.sweep == "forward":
        return lambda row: [forward(row).output]
    done, upstream = forward(None), draw(T, B, D, H)
    d_h, d_c = torch.zeros_like(h0), torch.zeros_like(h0) if c0 is not None else None
    saved = (done.gates, done.output, done.cells, h0, c0, w_hh, None, upstream, d_h, None, d_c)

    def backward(row: Launch) -> list[Tensor]:
        back = sweeps.backward(tune.cell, *saved, row)
        return [back.dgates, back.dh0]

    return backward


def tune_shape(
    tune: Tune, device_name: str, count: int, rounds: int, warmup: int, without: frozenset[str] = frozenset()
) -> list[Row]:
    """Rows: the table's, then each variant with its ratio to it (above 1: faster), `proposed` where it should replace it.

    Variants of the forms `without` are not tried.
    """
    device = torch.device(device_name)
    capability, sms, chip = gpu_of(device)
    chip = chip or CHIPS[9, 0]
    base, run, clock = tune.table_row(capability, sms), problem(tune, device), clock_for(device)
    expected = run(base)
    found: list[Row] = []
    for new in candidates(chip, tune, base, count, without):
        told: Row = {"key": tune.key, "peer": "variant", **asdict(tune), "row": asdict(new)}
        try:
            got = run(new)
            wait(device)
            wrong = error(got, expected)
        except Exception as failure:
            found.append({**told, "error": f"{type(failure).__name__}: {failure}"})
            late_error(device)  # of this variant, and not of the next
            if not usable(device):
                break
            continue
        if not wrong <= TOLERANCE[tune.dtype]:
            why = f"wrong result: expected the table's row's, got a relative error of {wrong:.3g}"
            found.append({**told, "error": why})
            continue
        calls = {"table": lambda: run(base), "variant": lambda new=new: run(new)}
        samples = paired(calls, clock, rounds=rounds, warmup=warmup)
        if not any(row["peer"] == "table" for row in found):
            found.append({**told, "peer": "table", "row": asdict(base), **time_columns(samples["table"])})
        ratio = ratio_columns(samples["table"], samples["variant"])
        found.append({**told, **time_columns(samples["variant"]), **ratio, "proposed": False})
    best = max((row for row in found if "ratio" in row), key=lambda row: row["ratio"], default=None)
    if best is not None and best["ratio_p20"] > GAIN:
        best["proposed"] = True
    return found
