"""Dropout and its fused epilogue against torch.nn.functional, and against a plain copy of the same tensor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as theirs

from benchmarks.measuring.cases import Case
from benchmarks.measuring.options import Options
from benchmarks.measuring.peers import ours_backend
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import clock_for, paired, ratio_columns, ratios, time_columns
from fusedrnn import functional as fused

P = 0.5  # probability of dropping; kept values double, which is exact in every dtype


def _functions(case: Case, device: torch.device) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """By peer: a function of the input (T, B, H) and the bias (H,)."""
    how = {"p": P, "backend": ours_backend(device)}
    if case.cell == "dropout":
        return {"torch.nn": lambda x, _: theirs.dropout(x, P), "ours": lambda x, _: fused.dropout(x, **how)}
    return {
        "torch.nn": lambda x, b: theirs.dropout(torch.relu(x + b), P),
        "ours": lambda x, b: fused.bias_relu_dropout(x, b, **how),
    }


def _wrong(case: Case, y: Tensor, x: Tensor, bias: Tensor) -> str | None:
    """Why `y` is not a dropout of `x`, or None: kept values doubled, about half of them kept."""
    whole = 2 * (x if case.cell == "dropout" else torch.relu(x + bias)).double()
    kept = y != 0
    if not torch.allclose(y[kept].double(), whole[kept], rtol=2e-2, atol=1e-2):
        return "wrong result: expected kept values to be doubled"
    share, spread = kept[whole != 0].double().mean().item(), 3.0 / (whole != 0).sum().item() ** 0.5
    return None if abs(share - 0.5) < spread else f"wrong result: expected half of the values kept, got {share:.3f}"


def times(case: Case, device: torch.device, options: Options) -> list[Row]:
    """Paired times of both and of a copy; `copy_share` is the copy's time over theirs, the share of copy bandwidth reached."""
    torch.manual_seed(0)
    training = case.passes == "training"
    x = torch.randn(case.T, case.B, case.H, device=device, dtype=case.torch_dtype, requires_grad=training)
    bias = torch.randn(case.H, device=device, dtype=case.torch_dtype, requires_grad=training)
    upstream = torch.randn_like(x)
    rows: list[Row] = []
    calls: dict[str, Callable[[], Any]] = {}
    for peer, function in _functions(case, device).items():
        problem = _wrong(case, function(x, bias).detach(), x.detach(), bias.detach())
        if problem:
            rows.append({"peer": peer, "error": problem})
            continue

        def call(function: Callable[[Tensor, Tensor], Tensor] = function) -> None:
            if training:
                x.grad = bias.grad = None
                function(x, bias).backward(upstream)
            else:
                function(x, bias)

        calls[peer] = call
    source = x.detach()
    calls["copy"] = lambda: [source.clone() for _ in range(2 if training else 1)]
    clock = clock_for(device)
    samples = paired(calls, clock, rounds=options.rounds, warmup=options.warmup)
    for peer, seconds in samples.items():
        row: Row = {"peer": peer, **time_columns(seconds)}
        if peer != "copy":
            row["copy_share"] = ratios(samples["copy"], seconds).median
        if peer == "ours" and "torch.nn" in samples:
            row |= ratio_columns(samples["torch.nn"], seconds)
        rows.append({**row, "clock": clock.name})
    return rows
