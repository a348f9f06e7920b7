"""Which kernels a run needs, and compiling one of them: the real launcher is called on tensors that have shapes and no memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.micro import Micro
from benchmarks.gpu.options import HEADS, NORM, RESETS, Option, P
from benchmarks.gpu.tuning import Tune, candidates
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.cases import DTYPES, Case
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine
from fusedrnn.auto.trial import others, rows_of, table_rows
from fusedrnn.backends.chips import CHIPS, chip_of
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import Row, even, slices
from fusedrnn.kernels.table import choose
from fusedrnn.operators.normalised import Normalised
from fusedrnn.precision import allow_tf32
from fusedrnn.reference.noise import Noise
from fusedrnn.reference.norm import Gains


@dataclass(frozen=True)
class Sweep:
    """A sweep's kernel: `sweep` "forward" or "backward", and what its constants depend on; `row` None as the table chooses."""

    sweep: str
    cell: str
    dtype: str
    B: int
    H: int
    D: int = 1
    tf32: bool = True
    lengths: bool = False
    save: bool = True
    row: Row | None = None
    option: str = ""  # of `options.WITH`

    def launch_row(self, chip: Chip) -> Row:
        """How it is launched on `chip`."""
        about = (self.sweep, self.cell, DTYPES[self.dtype], self.H, self.B, self.D)
        norm = self.option == NORM
        return self.row or choose(*about, chip.capability, chip.multiprocessors, tf32=self.tf32, norm=norm)

    def identity(self, chip: Chip) -> tuple[Any, ...]:
        """What its kernel is compiled for: calls that agree in it share the kernel, whatever their samples and directions."""
        row = self.launch_row(chip)
        tiles = tuple(value for name, value in vars(row).items() if name not in ("reason", "per_sm"))
        kind = (self.sweep, self.cell, self.dtype, self.tf32 or self.dtype != "fp32", self.lengths)
        return (*kind, self.option, self.sweep == "backward" or self.save, tiles, slices(row, self.H) > 1, self.H % 16 == 0,
                even(row, self.H))  # fmt: skip

    def form(self, chip: Chip) -> str:
        """Where its weights are."""
        return self.launch_row(chip).weights

    def compile(self) -> None:
        """Compile it for the chip of this process, `absent.install`'s or a real one."""
        from fusedrnn.kernels import sweeps

        cell, B, H, D = NUMBERS[self.cell], self.B, self.H, self.D

        def like(*shape: int, dtype: torch.dtype = DTYPES[self.dtype]) -> Tensor:
            return torch.empty(*shape, dtype=dtype, device="meta")

        gx, w_hh, b_hh, h0 = (
            like(1, B, D, cell.gates * H),
            like(D, cell.gates * H, H),
            like(D, cell.gates * H),
            like(D, B, H),
        )
        c0, cells = (h0, like(1, B, D, H)) if cell.has_c else (None, None)
        lengths = like(B, dtype=torch.int32) if self.lengths else None
        seed, zoneout = like(1, dtype=torch.int64), (P, 0.0)
        more: dict[str, Any] = {
            RESETS: {"resets": like(1, B, dtype=torch.bool)},
            "zoneout": {"noise": Noise(seed, zoneout)},
            "recurrent_dropout": {"noise": Noise(seed, dropout=P)},
            "heads": {"heads": HEADS},
        }.get(self.option, {})
        gains = Gains(b_hh, *((like(D, H), like(D, H)) if cell.has_c else ())) if self.option == NORM else None
        with allow_tf32(self.tf32):
            if self.sweep == "forward":
                sweeps.forward(
                    self.cell, gx, h0, c0, w_hh, b_hh, lengths, self.row, save=self.save, gains=gains, **more
                )
                return
            gates, output = like(1, B, D, cell.saved * H), like(1, B, D, H)
            upstream = (output, h0, None, c0)  # of the output, of the last h, of every c, of the last c
            norm = None if gains is None else Normalised(gains, gx, gx[..., :1])
            sweeps.backward(
                self.cell, gates, output, cells, h0, c0, w_hh, lengths, *upstream, self.row, norm=norm, **more
            )


@dataclass(frozen=True)
class Pointwise:
    """The kernels of dropout or of bias, ReLU and dropout, forward and backward, on contiguous tensors of `width` columns."""

    function: str
    dtype: str
    width: int = 1024

    def identity(self, chip: Chip) -> tuple[Any, ...]:
        """Widths that are multiples of 16 share kernels."""
        return (self.function, self.dtype, self.width if self.width % 16 else 16)

    def compile(self) -> None:
        """Compile them for the chip of this process."""
        from fusedrnn.kernels import pointwise

        x = torch.empty(64, self.width, dtype=DTYPES[self.dtype], device="meta")
        seed = torch.empty(1, dtype=torch.int64, device="meta")
        if self.function == "dropout":
            pointwise.dropout(x, P, seed)
        else:
            y = pointwise.bias_relu_dropout(x, x.new_empty(self.width), P, seed)
            pointwise.bias_relu_dropout_gradient(x, y, P)


Kernel = Sweep | Pointwise | Micro


def of_case(case: Case) -> Iterator[Kernel]:
    """The kernels that a benchmark's case runs."""
    if case.quantity == "dropout":
        yield Pointwise(case.cell, case.dtype, case.H)
        return
    tf32 = torch.backends.cudnn.allow_tf32
    common = Sweep("forward", case.cell, case.dtype, case.B, case.H, case.D, tf32, case.input == "packed")
    yield replace(common, save=False)  # parity is held without gradients too
    if case.passes == "training":
        yield common
        yield replace(common, sweep="backward")


def of_sweep(tune: Tune) -> Iterator[Kernel]:
    """The kernels that a sweep on the table's row runs; a backward sweep is given the results of a forward one."""
    base = Sweep(tune.sweep, tune.cell, tune.dtype, tune.B, tune.H, tune.D)
    if tune.sweep == "backward":
        yield replace(base, sweep="forward")
    yield base


def of_option(option: Option) -> Iterator[Kernel]:
    """The kernels of a layer with an option and of the plain layer."""
    plain = Sweep("forward", option.cell, option.dtype, option.B, option.H)
    with_it = replace(plain, option=option.name)
    if option.name == "heads":
        with_it = replace(with_it, H=option.H // HEADS, D=HEADS)
    for one in (plain, with_it):
        yield one
        yield replace(one, sweep="backward")


def of_tune(tune: Tune, chip: Chip, count: int) -> Iterator[Kernel]:
    """The kernels that the search for better rows of one shape runs: the table's and `count` variants."""
    known = chip_of(chip.capability or (0, 0), chip.multiprocessors) or CHIPS[9, 0]
    *_, base = of_sweep(tune)
    yield from of_sweep(tune)
    for row in candidates(known, tune, tune.table_row(chip.capability, chip.multiprocessors), count):
        yield replace(base, row=row)


def machine_of(chip: Chip) -> Machine:
    """As "auto" knows a chip."""
    return Machine("", chip.capability or (0, 0), chip.multiprocessors, "", "", "", "", "")


def of_kind(kind: Kind, chip: Chip) -> Iterator[Kernel]:
    """The kernels that "auto" runs to decide for a kind of call: of the table's rows, and of the others that it tries."""
    machine = machine_of(chip)
    dtype = next(name for name, value in DTYPES.items() if value == kind.torch_dtype)
    common = Sweep("", kind.cell, dtype, kind.batch, kind.hidden_size, kind.directions, kind.tf32)
    common = replace(common, lengths=kind.layout != "padded", save=kind.training)
    sweeps = ("forward", "backward") if kind.training else ("forward",)
    for number, (sweep, place) in enumerate(zip(sweeps, table_rows(kind, machine), strict=False)):
        rows = rows_of(sweep, kind, machine)
        for tried in (place, *others(number, kind, machine, place)):
            yield replace(common, sweep=sweep, row=rows[tried])


def distinct(wanted: Iterable[Kernel], chip: Chip) -> list[Kernel]:
    """One of each kernel, in order."""
    found: dict[tuple[Any, ...], Kernel] = {}
    for kernel in wanted:
        found.setdefault(kernel.identity(chip), kernel)
    return list(found.values())
