"""How far a result may be from the truth, and what to keep of one that is further away.

The truth is float64. A result may be 1.5 times as far from it as torch's own in the same dtype, and one rounding more.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring.cases import DTYPES
from benchmarks.measuring.peers import TOLERANCE, relative_error

BUDGET = 1.5
UNIT = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12, torch.float32: 2.0**-25, torch.float64: 2.0**-54}
"""Half a unit in the last place of 1: the error of rounding a result once."""
TF32_UNIT = 2.0**-11  # the same of a TF32 operand
COARSE = {DTYPES[name]: limit for name, limit in TOLERANCE.items()}
"""Relative error, of a result or of any one of its steps, beyond which it is wrong and not only inexact."""
COARSE_EXACT = 5e-5  # the same of float32 without TF32: products rounded to TF32 are beyond it


@dataclass(frozen=True)
class Result:
    """A tensor by name; `step`: the dimension of time, None where it has none; `last_first`: steps are taken from the last one."""

    name: str
    value: Tensor
    step: int | None = None
    last_first: bool = False


def allowed(theirs: float, dtype: torch.dtype, *, tf32: bool) -> float:
    """The largest error allowed where torch's own is `theirs`; `tf32`: float32 products may be TF32's."""
    return BUDGET * theirs + (TF32_UNIT if tf32 and dtype == torch.float32 else UNIT[dtype])


def judged(ours: list[Result], theirs: list[Result], truth: list[Result], *, tf32: bool) -> dict[str, Any]:
    """The verdict on results, "passed", "inexact" beyond the budget or "failed" where wrong, with the worst one's evidence."""
    worst: dict[str, Any] = {"verdict": "passed", "share": -1.0}
    for got, other, exact in zip(ours, theirs, truth, strict=True):
        dtype = got.value.dtype
        if got.value.shape != exact.value.shape:
            shapes = f"expected {got.name} of shape {tuple(exact.value.shape)}, got {tuple(got.value.shape)}"
            return {"verdict": "failed", "tensor": got.name, "error": shapes}
        error, own = relative_error(got.value, exact.value), relative_error(other.value, exact.value)
        limit = allowed(own, dtype, tf32=tf32)
        share = error / limit if math.isfinite(error) else math.inf
        if share <= worst["share"]:
            continue
        worst = {
            "verdict": "passed", "tensor": got.name, "share": share, "relative_error": error, "torchs_error": own, "allowed": limit,
        }  # fmt: skip
        if not share <= 1:
            coarse = COARSE_EXACT if dtype == torch.float32 and not tf32 else COARSE[dtype]
            worst |= evidence(got, exact.value, limit)
            worst["verdict"] = "inexact" if max(error, worst.get("worst_step_error", 0.0)) <= coarse else "failed"
    return worst


def evidence(got: Result, truth: Tensor, limit: float) -> dict[str, Any]:
    """Where a result is wrong: the worst element, what is not finite, and the first step, in the sweep's order, that differs."""
    value, exact = got.value.double(), truth.double()
    flat = int((value - exact).abs().argmax())  # that of a NaN, if there is one
    index = [int(i) for i in torch.unravel_index(torch.tensor(flat), value.shape)]
    found: dict[str, Any] = {
        "worst_element": index, "got": value.flatten()[flat].item(), "expected": exact.flatten()[flat].item(),
        "not_finite": int((~value.isfinite()).sum()),
    }  # fmt: skip
    if got.step is None:
        return found
    dims = [d for d in range(value.ndim) if d != got.step]
    each = (value - exact).square().sum(dims).sqrt() / exact.square().sum(dims).mean().sqrt().clamp_min(1e-30)
    found["worst_step_error"] = each.max().item()
    wrong = (~(each <= 2 * limit)).nonzero().flatten().tolist()
    found["wrong_steps"] = len(wrong)
    found["first_step"] = (max(wrong) if got.last_first else min(wrong)) if wrong else None
    return found


def named(verdict: dict[str, Any]) -> dict[str, Any]:
    """With numbers that JSON has: what is not finite as a word."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in verdict.items()
    }
