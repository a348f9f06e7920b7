"""The LSTM with a forget gate, as in torch.nn.LSTM.

Blocks are [units, samples]. Order of gx, a, saved, dgates: i, f, g, o. Formulas: torch.nn.LSTM's documentation, gradients by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.math import sigmoid, tanh


@triton.jit
def step(gx, a, h, c, factor, DIGITS: tl.constexpr):
    """c' = f * c + i * g, h' = o * tanh(c'). Saves i, f, g, o."""
    i = sigmoid(gx[0] + a[0], DIGITS)
    f = sigmoid(gx[1] + a[1], DIGITS)
    g = tanh(gx[2] + a[2], DIGITS)
    o = sigmoid(gx[3] + a[3], DIGITS)
    c_new = f * c + i * (g * factor)
    return o * tanh(c_new, DIGITS), c_new, (i, f, g, o)


@triton.jit
def output(saved, c, DIGITS: tl.constexpr):
    """h' of a normalised c'."""
    return saved[3] * tanh(c, DIGITS)


@triton.jit
def gate_gradients(dh, dc, y, saved, c_before, factor):
    """Gradients di, df, dg, do of the pre-activations, and of c_before. y: what o multiplies; dc: all that flows to c'."""
    i, f, g, o = saved
    di = dc * (g * factor) * i * (1.0 - i)
    df = dc * c_before * f * (1.0 - f)
    dg = dc * (i * factor) * (1.0 - g * g)
    do = dh * y * o * (1.0 - o)
    return (di, df, dg, do), 0.0, dc * f


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, factor, DIGITS: tl.constexpr):
    """`gate_gradients` of y = tanh(c'). h enters through the recurrent products only."""
    y = tanh(c, DIGITS)
    dc = dc + dh * saved[3] * (1.0 - y * y)
    return gate_gradients(dh, dc, y, saved, c_before, factor)


@triton.jit
def through_output(dh, saved, c, DIGITS: tl.constexpr):
    """y = tanh(c) of a normalised c', and the gradient of c."""
    y = tanh(c, DIGITS)
    return y, dh * saved[3] * (1.0 - y * y)


@triton.jit
def new_c(saved, c_before, factor):
    """c' again."""
    return saved[1] * c_before + saved[0] * (saved[2] * factor)


LSTM = NUMBERS["lstm"]._replace(
    step=step,
    step_backward=step_backward,
    new_c=new_c,
    output=output,
    through_output=through_output,
    gate_gradients=gate_gradients,
)
