"""Sigmoid and tanh, accurate to two units in the last place of the output dtype, without overflow.

``DIGITS``, the number of bits of the output's significand, selects the method:

- 53, float64: ``tl.exp``, and the rational tanh of Cephes (S. L. Moshier).
- 24, float32: an exponential by range reduction and a polynomial (coefficients: Cephes, single precision), because the relative
  error of the hardware's ``exp`` grows with its argument.
- 11, float16: the hardware's exponential and reciprocal.
- 8, bfloat16: also the hardware's tanh, of relative error 2^-11 (PTX ISA), a quarter of a unit in the last place. The sigmoid is
  not formed from it: its absolute error near 0 and 1 would be 2^-12, which a nearly closed gate carries from step to step.
"""

import torch
import triton
import triton.language as tl

from fusedrnn.kernels.launch import INTERPRETED

HARDWARE = tl.constexpr(not INTERPRETED and torch.version.hip is None)
"""Whether NVIDIA's approximate reciprocal and tanh instructions exist; the interpreter and ROCm use formulas instead."""


@triton.jit
def _exp_of_nonpositive(x):
    """exp(x) for x <= 0 in float32 to about one unit in the last place, also for subnormal results; NaN gives 1."""
    x = tl.where(x > -104.0, x, tl.where(x == x, -104.0, 0.0))
    n = tl.floor(x * 1.44269504088896341 + 0.5)
    r = (x - n * 0.693359375) - n * -2.12194440e-4
    p = 1.9875691500e-4 * r + 1.3981999507e-3
    p = p * r + 8.3334519073e-3
    p = p * r + 4.1665795894e-2
    p = p * r + 1.6666665459e-1
    p = p * r + 5.0000001201e-1
    y = p * r * r + r + 1.0
    exponent = n.to(tl.int32)
    first = exponent // 2  # 2^n as two factors, so that a subnormal result is rounded once, at the end
    second = exponent - first
    scale = ((first + 127) << 23).to(tl.float32, bitcast=True)
    return y * scale * ((second + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _decay(x, DIGITS: tl.constexpr):
    """exp(-|x|); NaN stays NaN."""
    if DIGITS == 24:
        return tl.where(x == x, _exp_of_nonpositive(-tl.abs(x)), x)
    else:
        return tl.exp(-tl.abs(x))


@triton.jit
def _reciprocal(x):
    """1 / x to one unit in the last place of float32; 0 for infinity."""
    if HARDWARE:
        return tl.inline_asm_elementwise("rcp.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        return 1.0 / x


@triton.jit
def _divide(a, b, DIGITS: tl.constexpr):
    if DIGITS == 24:
        return tl.div_rn(a, b)
    elif DIGITS == 53:
        return a / b
    else:
        return a * _reciprocal(b)


@triton.jit
def sigmoid(x, DIGITS: tl.constexpr):
    """1 / (1 + exp(-x)), formed from exp(-|x|), which cannot overflow; for 16-bit types on a GPU exp(-x) may become infinite.

    (1 - d) + e is the exact rounding error of d = 1 + e; correcting for it keeps small results within two units in the last place.
    """
    if DIGITS < 24 and HARDWARE:
        return _reciprocal(1.0 + tl.exp(-x))
    else:
        e = _decay(x, DIGITS)
        d = 1.0 + e
        y = _divide(tl.where(x >= 0, 1.0, e), d, DIGITS)
        return y - y * ((1.0 - d) + e)


@triton.jit
def tanh(x, DIGITS: tl.constexpr):
    """The hardware's tanh if DIGITS is 8; else an odd series if |x| < 0.625, and (1 - exp(-2|x|)) / (1 + exp(-2|x|)) above."""
    if DIGITS == 8 and HARDWARE:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        return _tanh(x, DIGITS)


@triton.jit
def _tanh(x, DIGITS: tl.constexpr):
    s = x * x
    if DIGITS == 53:
        p = (-9.64399179425052238628e-1 * s - 9.92877231001918586564e1) * s - 1.61468768441708447952e3
        q = ((s + 1.12811678491632931402e2) * s + 2.23548839060100448583e3) * s + 4.84406305325125486048e3
        small = x + x * s * (p / q)
    else:
        p = -5.70498872745e-3 * s + 2.06390887954e-2
        p = p * s - 5.37397155531e-2
        p = p * s + 1.33314422036e-1
        p = p * s - 3.33332819422e-1
        small = p * s * x + x
    e = _decay(2.0 * x, DIGITS)
    large = _divide(1.0 - e, 1.0 + e, DIGITS)
    return tl.where(tl.abs(x) < 0.625, small, tl.where(x < 0, -large, large))
