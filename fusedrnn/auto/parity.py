"""How far a result may be from the truth, which is float64: the error budget relative to torch's own RNN in the same dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BUDGET = 1.5
"""Times as far from the truth as torch's own, in norm."""
SPREAD = 4.0
"""Standard deviations of the ratio of two errors that the budget leaves room for."""
FEW = 8
"""A result of fewer numbers may be near zero as a whole: it can be inexact, and not wrong unless it is not finite."""
UNIT = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12, torch.float32: 2.0**-25, torch.float64: 2.0**-43}
"""Half a unit in the last place of 1: the error of rounding a result once. Of float64 more: the truth is rounded alike."""
TF32_UNIT = 2.0**-11
"""The same of a TF32 operand."""
COARSE = {torch.bfloat16: 6e-2, torch.float16: 8e-3, torch.float32: 2e-3, torch.float64: 1e-10}
"""Relative error beyond which a result is wrong and not only inexact; float32 with TF32."""
COARSE_EXACT = 5e-5
"""The same of float32 without TF32: products rounded to TF32 are beyond it."""
WRONG = 4.0
"""Nor is it wrong before it is this many times as far from the truth as torch's own."""
UNSOUND = 10.0
"""Torch's own is taken for wrong beyond this many times the relative error at which ours may be."""
ELEMENT_BUDGET, ELEMENT_UNITS = 4.0, 16.0
"""Of a single element: times the largest error of torch's own, and units of the root mean square of the truth."""


class Judged(NamedTuple):
    """A verdict, "right", "inexact" (beyond the budget) or "wrong", and the result that is furthest beyond or nearest to its limit.

    `share` is that result's error as a part of what is allowed; `text` says all of it in words.
    """

    verdict: str
    share: float
    text: str


def relative_error(got: Tensor, expected: Tensor) -> float:
    """In norm, in float64; NaN or infinite where `got` is."""
    return float(((got.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-30)).item())


def unit(dtype: torch.dtype, *, tf32: bool) -> float:
    """The error of one rounding; `tf32`: float32 products may be TF32's."""
    return TF32_UNIT if tf32 and dtype == torch.float32 else UNIT[dtype]


def coarse(dtype: torch.dtype, *, tf32: bool) -> float:
    """The relative error beyond which a result is wrong."""
    return COARSE_EXACT if dtype == torch.float32 and not tf32 else COARSE[dtype]


def allowed(theirs: float, dtype: torch.dtype, count: int, *, tf32: bool) -> float:
    """The largest relative error of `count` numbers within the budget, where torch's own is `theirs`.

    Both errors are norms of random ones. Of few numbers their ratio varies by about 1 / sqrt(count), so the budget is larger.
    """
    return BUDGET * (1 + SPREAD / math.sqrt(max(1, count))) * theirs + unit(dtype, tf32=tf32)


Named = Sequence[tuple[str, Tensor]]


def sound(results: Named, truth: Named, *, tf32: bool) -> str | None:
    """Which result is so far from the truth that nothing can be held to it, in words, or None."""
    for (name, value), (_, exact) in zip(results, truth, strict=True):
        error, limit = relative_error(value, exact), UNSOUND * coarse(value.dtype, tf32=tf32)
        if value.numel() and not error <= limit:
            return f"{name}: expected a relative error up to {limit:.3g}, got {error:.3g}"
    return None


def judge(ours: Named, theirs: Named, truth: Named, *, tf32: bool) -> Judged:
    """Judge results by name against torch's own in the same dtype and the truth in float64."""
    worst = Judged("right", 0.0, "no results")
    order = ("right", "inexact", "wrong")
    for (name, got), (_, other), (_, exact) in zip(ours, theirs, truth, strict=True):
        found = _judge_one(name, got, other, exact, tf32=tf32)
        if (order.index(found.verdict), found.share) >= (order.index(worst.verdict), worst.share):
            worst = found
    return worst


def _judge_one(name: str, got: Tensor, other: Tensor, exact: Tensor, *, tf32: bool) -> Judged:
    if got.shape != exact.shape:
        return Judged("wrong", math.inf, f"{name}: expected shape {tuple(exact.shape)}, got {tuple(got.shape)}")
    if exact.numel() == 0:
        return Judged("right", 0.0, f"{name}: empty")
    dtype = got.dtype
    error, theirs = relative_error(got, exact), relative_error(other, exact)
    limit = allowed(theirs, dtype, exact.numel(), tf32=tf32)
    size = float(exact.double().square().mean().sqrt())
    far = _largest(got, exact)
    far_limit = ELEMENT_BUDGET * _largest(other, exact) + ELEMENT_UNITS * unit(dtype, tf32=tf32) * size
    text = f"{name}: relative error {error:.3g}, allowed {limit:.3g}; of an element {far:.3g}, allowed {far_limit:.3g}"
    if not (math.isfinite(error) and math.isfinite(far)):
        return Judged("wrong", math.inf, text)
    share = max(error / limit, far / far_limit if far_limit else 0.0)
    if share <= 1:
        return Judged("right", share, text)
    wrong = exact.numel() >= FEW and (
        error > max(coarse(dtype, tf32=tf32), WRONG * theirs) or (far > far_limit and far > size)
    )
    return Judged("wrong" if wrong else "inexact", share, text)


def _largest(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact.double()).abs().max())
