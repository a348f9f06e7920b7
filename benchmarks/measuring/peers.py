"""Who is timed on a case: torch.nn, ours and others, all on the same weights and inputs.

A peer is a call without arguments. Its results are compared with torch.nn's first; a peer with wrong results is not
timed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from benchmarks.measuring.cases import DTYPES, Case
from benchmarks.measuring.records import ROOT
from fusedrnn import FusedGRU, FusedLSTM, available_backends
from fusedrnn.auto.parity import COARSE, relative_error

LYRICS = ROOT / "examples" / "data" / "lyrics_zh.txt"
TOLERANCE = {name: COARSE[dtype] for name, dtype in DTYPES.items()}
"""Relative error allowed against torch.nn in the same dtype: both round in their own order, fp32 with TF32 on a GPU."""
BASE = "torch.nn"  # the peer that ratios are taken to
COMPILED_STEPS = 64  # the compiled reference is a graph of T steps; beyond this many its compilation takes minutes


@dataclass(frozen=True)
class Peer:
    """A call; what it returns: the output, and for training the gradients of the recurrent weights; what it was given; and who."""

    call: Callable[[], Any]
    results: Callable[[], list[Tensor]]
    given: tuple[Tensor, ...]
    module: nn.Module


def lengths(case: Case) -> Tensor:
    """B lengths spread as those of the lyrics' lines, stretched until the longest is T: (B,) int64, longest first."""
    lines = LYRICS.read_text(encoding="utf-8").split()
    sizes = torch.tensor(sorted(map(len, lines)), dtype=torch.float64)
    shares = torch.quantile(sizes / sizes[-1], torch.linspace(0, 1, case.B, dtype=torch.float64))
    return (shares * case.T).ceil().long().clamp(1, case.T).flip(0)


def inputs(case: Case, device: torch.device) -> Tensor:
    """Dense rows or ids, from torch's seed."""
    if case.input == "ids":
        return torch.randint(case.I, (case.T, case.B), device=device)
    return torch.randn(case.T, case.B, case.I, device=device, dtype=case.torch_dtype)


def ours_backend(device: torch.device) -> str:
    """The kernels where they run (on a CPU that is in Triton's interpreter, if it is asked for), else what "auto" chooses."""
    return "triton" if available_backends()["triton"] is None else "auto"


def module(cell: str, I: int, H: int, backend: str | None, **options: Any) -> nn.Module:
    """torch.nn's module, or ours on `backend`."""
    if backend is None:
        return (nn.LSTM if cell == "lstm" else nn.GRU)(I, H, **options)
    if cell == "lstm":
        return FusedLSTM(I, H, backend=backend, **options)
    return FusedGRU(I, H, backend=backend, reset_after=cell == "gru", **options)


def _module(case: Case, device: torch.device, backend: str | None) -> nn.Module:
    """A case's module, with the same weights on every backend."""
    torch.manual_seed(1)
    options = {"num_layers": case.L, "bidirectional": case.D == 2, "device": device, "dtype": case.torch_dtype}
    return module(case.cell, case.I, case.H, backend, **options)


def _peer(case: Case, module: nn.Module, arguments: tuple[Any, ...], upstream: Tensor) -> Peer:
    """A call of `module`, with its backward if the case trains; else in eval mode: cuDNN does more in training."""
    module.train(case.passes == "training")
    parameters = dict(module.named_parameters())

    def output() -> Tensor:
        result = module(*arguments)[0]
        return result.data if isinstance(result, PackedSequence) else result

    def forward() -> Tensor:
        with torch.no_grad():
            return output()

    def training() -> None:
        for parameter in parameters.values():
            parameter.grad = None
        output().backward(upstream)

    def results() -> list[Tensor]:
        if case.passes == "forward":
            return [forward()]
        training()
        gradients = [parameters[name].grad for name in sorted(parameters) if "weight_hh" in name]
        return [forward(), *(gradient for gradient in gradients if gradient is not None)]

    passed = [a.data if isinstance(a, PackedSequence) else a for a in arguments]
    given = (*parameters.values(), *passed, upstream)
    return Peer(forward if case.passes == "forward" else training, results, given, module)


def peers(case: Case, device: torch.device, *, compiled: bool = False) -> dict[str, Peer]:
    """The peers of a case; torch.nn is missing for a cell that it lacks, the compiled reference unless asked for."""
    torch.manual_seed(0)
    x = inputs(case, device)
    plain: Any = one_hot(x, case.I).to(case.torch_dtype) if case.input == "ids" else x
    fused: Any = x
    rows = case.T * case.B
    if case.input == "packed":
        plain = fused = pack_padded_sequence(x, lengths(case))
        rows = len(plain.data)
    upstream = torch.randn(rows, case.D * case.H, device=device, dtype=case.torch_dtype)
    if case.input != "packed":
        upstream = upstream.view(case.T, case.B, -1)
    wanted: dict[str, tuple[str | None, Any]] = {
        BASE: (None, plain), "ours": (ours_backend(device), fused), "reference": ("reference", fused)
    }  # fmt: skip
    if case.cell == "gru_before":
        del wanted[BASE]
    found = {name: _peer(case, _module(case, device, backend), (x,), upstream) for name, (backend, x) in wanted.items()}
    if compiled and case.T <= COMPILED_STEPS and case.input == "dense":
        module = torch.compile(_module(case, device, "reference"), fullgraph=True)
        found["compiled reference"] = _peer(case, module, (plain,), upstream)
    return found


def error(got: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative error of any result; NaN if any number is not finite."""
    worst = 0.0
    for g, e in zip(got, expected, strict=True):
        found = relative_error(g, e)
        worst = found if not found <= worst else worst
    return worst
