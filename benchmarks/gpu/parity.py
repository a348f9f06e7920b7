"""Holding results to the error budget of `fusedrnn.auto.parity`, and what to keep of one that is beyond it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusedrnn.auto.parity import allowed, coarse, relative_error


@dataclass(frozen=True)
class Result:
    """A tensor by name; `step`: the dimension of time, None where it has none; `last_first`: steps are taken from the last one."""

    name: str
    value: Tensor
    step: int | None = None
    last_first: bool = False


def judged(ours: list[Result], theirs: list[Result], truth: list[Result], *, tf32: bool) -> dict[str, Any]:
    """The verdict on results, "passed", "inexact" beyond the budget or "failed" where wrong, with the worst one's evidence."""
    worst: dict[str, Any] = {"verdict": "passed", "share": -1.0}
    for got, other, exact in zip(ours, theirs, truth, strict=True):
        dtype = got.value.dtype
        if got.value.shape != exact.value.shape:
            shapes = f"expected {got.name} of shape {tuple(exact.value.shape)}, got {tuple(got.value.shape)}"
            return {"verdict": "failed", "tensor": got.name, "error": shapes}
        error, own = relative_error(got.value, exact.value), relative_error(other.value, exact.value)
        limit = allowed(own, dtype, exact.value.numel(), tf32=tf32)
        share = error / limit if math.isfinite(error) else math.inf
        if share <= worst["share"]:
            continue
        worst = {
            "verdict": "passed", "tensor": got.name, "share": share, "relative_error": error, "torchs_error": own, "allowed": limit,
        }  # fmt: skip
        if not share <= 1:
            worst |= evidence(got, exact.value, limit)
            right = max(error, worst.get("worst_step_error", 0.0)) <= coarse(dtype, tf32=tf32)
            worst["verdict"] = "inexact" if right else "failed"
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
