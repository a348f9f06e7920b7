"""The gate: which kernels are right, form by form; each check is a job of the worker's process.

A form is where the recurrent weights are: in the registers of one program that is "alone", in "registers", in "shared" memory, or
"streamed" from the caches at every step. Its shapes are those for which the launch table chooses it. A wrong result is a verdict
with evidence, not an exception.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.gpu.kernels import Kernel, Sweep
from benchmarks.gpu.parity import Result, judged, named
from benchmarks.gpu.tuning import Tune
from benchmarks.gpu.waiting import wait
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.cases import DTYPES
from benchmarks.measuring.peers import module
from benchmarks.measuring.records import Row
from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.kernels.table import PLACES
from fusedrnn.precision import allow_tf32

CELLS = ("gru", "lstm", "gru_before")
SWEEPS = ("forward", "backward")
DROPOUT = "dropout"  # the subject of the kernels of dropout
WIDTHS = (512, 768, 1024, 1280, 1536, 2048, 3072, 4096, 8192, 256, 128, 64)  # H, tried in this order; 512 is a goal's
SEED, REPEATS = 20, 20
POLLS = 1 << 18  # of a wait, some tenths of a second, so that a hang does not use up a case's time
STEPS, SAMPLES, INPUTS = 24, 37, 96  # enough samples for more than one batch tile, the last one nearly empty


@dataclass(frozen=True)
class Check:
    """One cell, dtype and form at one size, both directions; `exact`: float32 without TF32."""

    cell: str
    dtype: str
    form: str
    H: int
    lengths: bool
    exact: bool = False
    T: int = STEPS
    B: int = SAMPLES

    @property
    def key(self) -> str:
        """Its name in the record."""
        numbers = "exact fp32" if self.exact else self.dtype
        return f"gate: {self.cell} {numbers} {self.form} H{self.H}{' lengths' if self.lengths else ''}"

    def subject(self, sweep: str) -> str:
        """What its verdict on a sweep speaks of."""
        numbers = numbers_of(self.dtype, tf32=not self.exact)
        return _subject(self.cell, numbers, self.form, sweep, lengths=self.lengths)

    def kernels(self) -> Iterator[Kernel]:
        """What it runs."""
        forward = Sweep("forward", self.cell, self.dtype, self.B, self.H, 2, tf32=not self.exact, lengths=self.lengths)
        yield forward
        yield replace(forward, sweep="backward")


def numbers_of(dtype: str, *, tf32: bool) -> str:
    """How verdicts name the products of a dtype."""
    return {"fp32": "tf32" if tf32 else "exact", "fp64": "fp64"}.get(dtype, "16-bit")


def width(cell: str, dtype: str, form: str, chip: Chip, *, exact: bool) -> int | None:
    """An H at which the table takes the form for both sweeps, or None if it never does."""
    for H in WIDTHS:
        if all(Sweep(s, cell, dtype, SAMPLES, H, 2, tf32=not exact).form(chip) == form for s in SWEEPS):
            return H
    return None


def checks(chip: Chip) -> list[Check]:
    """Every check of a form: those of the goals first, then the others; forms that the table never takes have none."""
    kinds = (("bf16", False), ("fp32", False), ("fp32", True))
    found = []
    for lengths, (dtype, exact), form, cell in product((False, True), kinds, PLACES, CELLS):
        if (H := width(cell, dtype, form, chip, exact=exact)) is not None:
            found.append(Check(cell, dtype, form, H, lengths, exact))
    return found


def subject(kernel: Kernel, chip: Chip) -> str:
    """What a verdict speaks of, in words: kernels that share it pass and fail together."""
    if not isinstance(kernel, Sweep):
        return DROPOUT
    numbers = numbers_of(kernel.dtype, tf32=kernel.tf32)
    return _subject(kernel.cell, numbers, kernel.form(chip), kernel.sweep, lengths=kernel.lengths)


def _subject(cell: str, numbers: str, form: str, sweep: str, *, lengths: bool) -> str:
    return f"the {form} {sweep} sweep of {cell}, {numbers}{', lengths' if lengths else ''}"


def failures(rows: list[Row]) -> set[str]:
    """The subjects that have failed, by the rows of the gate's record."""
    return {row["subject"] for row in rows if row.get("verdict") == "failed" and "subject" in row}


def failed_forms(tune: Tune, failed: set[str]) -> frozenset[str]:
    """The forms in which a sweep to tune has failed."""
    numbers = numbers_of(tune.dtype, tf32=torch.backends.cudnn.allow_tf32)
    return frozenset(f for f in PLACES if _subject(tune.cell, numbers, f, tune.sweep, lengths=False) in failed)


def left_out(kernels: Iterable[Kernel], chip: Chip, failed: set[str]) -> str | None:
    """Why what runs these kernels is not measured, or None: one of them has failed."""
    for kernel in kernels:
        if (what := subject(kernel, chip)) in failed:
            return f"left out: {what} failed the gate"
    return None


@contextmanager
def _spoiled() -> Iterator[None]:
    """A forward sweep that is wrong from its third step on, to try the gate."""
    from fusedrnn.kernels import sweeps

    right = sweeps.forward

    def wrong(*arguments: Any, **options: Any) -> Any:
        done = right(*arguments, **options)
        done.output[2:] += 1.0
        return done

    with mock.patch.object(sweeps, "forward", wrong):
        yield


def _inputs(check: Check, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(SEED)
    T, B, dtype = check.T, check.B, DTYPES[check.dtype]
    x = torch.randn(T, B, INPUTS, generator=generator).to(device, dtype)
    upstream = torch.randn(T, B, 2 * check.H, generator=generator).to(device, dtype)
    lengths = torch.randint(1, T + 1, (B,), generator=generator).to(device) if check.lengths else None
    return x, upstream, lengths


def _ours(check: Check, device: torch.device) -> nn.Module:
    torch.manual_seed(SEED)
    return module(check.cell, INPUTS, check.H, "triton", bidirectional=True, device=device, dtype=DTYPES[check.dtype])


def _torchs(check: Check, ours: nn.Module, dtype: torch.dtype) -> nn.Module:
    """torch.nn's with the same weights; for the reset-before GRU, which torch.nn lacks, the reference."""
    backend = "reference" if check.cell == "gru_before" else None
    device = next(ours.parameters()).device
    made = module(check.cell, INPUTS, check.H, backend, bidirectional=True, device=device, dtype=dtype)
    made.load_state_dict(ours.state_dict())
    return made


def _results(net: nn.Module, x: Tensor, upstream: Tensor, lengths: Tensor | None, H: int) -> dict[str, list[Result]]:
    """By sweep: output and final states; gradients of the input and of every parameter."""
    x = x.detach().clone().requires_grad_()
    if lengths is None:
        output, states = net(x)
    elif isinstance(net, FusedGRU | FusedLSTM):
        output, states = net(x, lengths=lengths)
    else:
        packed, states = net(pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False))
        output, _ = pad_packed_sequence(packed, total_length=x.shape[0])
    finals = states if isinstance(states, tuple) else (states,)
    loss = (output * upstream).sum() + sum(state.square().sum() for state in finals)
    names, parameters = zip(*net.named_parameters(), strict=True)
    of_x, *gradients = torch.autograd.grad(loss, [x, *parameters])
    one, other = output.detach().split(H, -1)
    outputs = [Result("output", one, 0), Result("output, reversed direction", other, 0, last_first=True)]
    ends = [Result(name, state.detach()) for name, state in zip(("h_n", "c_n"), finals, strict=False)]
    inputs = [Result("gradient of x", of_x, 0, last_first=True)]
    weights = [Result(f"gradient of {name}", gradient) for name, gradient in zip(names, gradients, strict=True)]
    return {"forward": outputs + ends, "backward": inputs + weights}


def run_check(check: Check, device_name: str, spoil: bool = False) -> list[Row]:
    """Two rows, forward and backward: the verdict against torch.nn in float64, and, without lengths, that of repeats bit by bit.

    `spoil` makes the forward sweep wrong.
    """
    from fusedrnn.kernels import launch

    device = torch.device(device_name)
    dtype, repeats = DTYPES[check.dtype], 0 if check.lengths else REPEATS
    with allow_tf32(not check.exact), _spoiled() if spoil else nullcontext():
        ours = _ours(check, device)
        x, upstream, lengths = _inputs(check, device)
        theirs = _results(_torchs(check, ours, dtype), x, upstream, lengths, check.H)
        truth = _results(_torchs(check, ours, torch.float64), x.double(), upstream.double(), lengths, check.H)

        def call() -> dict[str, list[Result]]:
            return _results(ours, x, upstream, lengths, check.H)

        got: dict[str, list[Result]] = {}
        wrong: dict[str, str] = {}
        try:
            with mock.patch.object(launch, "POLLS", POLLS):
                got = call()
                wait(device)  # else every repeat would wait until its time-out
                wrong = _differing(call, got, repeats)
                wait(device)
        except Exception as failure:  # whatever it is, it is this form's, and the others go on
            wrong = dict.fromkeys(SWEEPS, f"{type(failure).__name__}: {failure}")
    rows = []
    for row, sweep in zip(condemned(check), SWEEPS, strict=True):
        verdict: Row = {}
        with suppress(Exception) if sweep in wrong else nullcontext():  # what can be told of a form that has failed
            verdict = judged(got[sweep], theirs[sweep], truth[sweep], tf32=not check.exact)
        if sweep in wrong:
            verdict |= {"verdict": "failed", "error": wrong[sweep]}
        rows.append({**row, "repeats": repeats, **named(verdict)})
    return rows


def condemned(check: Check) -> list[Row]:
    """Its rows if it gives no answer: what hangs or ends its process is not launched again."""
    numbers = numbers_of(check.dtype, tf32=not check.exact)
    about = {"key": check.key, "peer": "ours", **asdict(check), "numbers": numbers, "seed": SEED, "verdict": "failed"}
    return [{**about, "sweep": sweep, "subject": check.subject(sweep)} for sweep in SWEEPS]


def _differing(
    call: Callable[[], dict[str, list[Result]]], first: dict[str, list[Result]], repeats: int
) -> dict[str, str]:
    """By sweep, what differed in which repeat; a wrong forward makes the backward's results differ too."""
    for repeat in range(1, repeats + 1):
        again = call()
        for sweep in SWEEPS:
            for one, other in zip(first[sweep], again[sweep], strict=True):
                where = (_bits(one.value) != _bits(other.value)).nonzero()
                if len(where):
                    found = f"others in {one.name} at {where[0].tolist()}, repeat {repeat}"
                    return {sweep: f"expected the same bits in {repeats} repeats, got {found}"}
    return {}


def _bits(value: Tensor) -> Tensor:
    """As integers, of which the bits of a NaN are equal to themselves."""
    return value.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[value.itemsize])
