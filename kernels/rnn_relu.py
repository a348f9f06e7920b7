"""The Elman network with ReLU, as in torch.nn.RNN(nonlinearity="relu").

Blocks are [units, samples]; gx, a, saved and dgates have one each. Formula: torch.nn.RNN's documentation; gradient by hand.
NaN propagates, as in torch.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS


@triton.jit
def step(gx, a, h, c, factor, DIGITS: tl.constexpr):
    """h' = max(gx + a, 0). Saves h'."""
    x = gx[0] + a[0]
    new = tl.where(x < 0.0, 0.0, x)
    return new, c, (new,)


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, factor, DIGITS: tl.constexpr):
    """Gradient of the pre-activation, 0 where h' is 0. h enters through the recurrent product only."""
    return (tl.where(saved[0] <= 0.0, 0.0, dh),), 0.0, dc


RNN_RELU = NUMBERS["rnn_relu"]._replace(step=step, step_backward=step_backward)
