"""Sigmoid and tanh that hold two units in the last place of the output dtype and never overflow.

float32 outputs need more than the hardware's ``exp``, whose relative error grows with its argument; there the exponential is
computed by range reduction and a polynomial (coefficients: Cephes, S. L. Moshier, single precision). 16-bit outputs take the
hardware's. float64 takes the library's exponential and Cephes' rational tanh.
"""

import triton
import triton.language as tl


@triton.jit
def _exp_of_nonpositive(x):
    """exp(x) for x <= 0 in float32 to about one unit in the last place, subnormal results included; NaN gives 1."""
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
    first = exponent // 2  # two factors, so that a subnormal result is rounded once, at the end
    second = exponent - first
    scale = ((first + 127) << 23).to(tl.float32, bitcast=True)
    return y * scale * ((second + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _decay(x, EXACT: tl.constexpr):
    """exp(-|x|); NaN stays NaN."""
    if EXACT and x.dtype == tl.float32:
        return tl.where(x == x, _exp_of_nonpositive(-tl.abs(x)), x)
    else:
        return tl.exp(-tl.abs(x))


@triton.jit
def _divide(a, b, EXACT: tl.constexpr):
    if EXACT and a.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@triton.jit
def sigmoid(x, EXACT: tl.constexpr):
    """1 / (1 + exp(-x)), the exponential taken of -|x| only; ``EXACT`` for float32 outputs.

    The rounding error of 1 + e is known exactly; taking it back keeps small results within two units in the last place.
    """
    e = _decay(x, EXACT)
    d = 1.0 + e
    y = _divide(tl.where(x >= 0, 1.0, e), d, EXACT)
    if EXACT:
        y = y - y * ((1.0 - d) + e)
    return y


@triton.jit
def tanh(x, EXACT: tl.constexpr):
    """Odd series below 0.625, (1 - exp(-2|x|)) / (1 + exp(-2|x|)) above."""
    s = x * x
    if x.dtype == tl.float64:
        p = (-9.64399179425052238628e-1 * s - 9.92877231001918586564e1) * s - 1.61468768441708447952e3
        q = ((s + 1.12811678491632931402e2) * s + 2.23548839060100448583e3) * s + 4.84406305325125486048e3
        small = x + x * s * (p / q)
    else:
        p = -5.70498872745e-3 * s + 2.06390887954e-2
        p = p * s - 5.37397155531e-2
        p = p * s + 1.33314422036e-1
        p = p * s - 3.33332819422e-1
        small = p * s * x + x
    e = _decay(2.0 * x, EXACT)
    large = _divide(1.0 - e, 1.0 + e, EXACT)
    return tl.where(tl.abs(x) < 0.625, small, tl.where(x < 0, -large, large))
