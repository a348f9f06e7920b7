"""The Elman network with ReLU: torch.nn.RNN(nonlinearity="relu").

Every block is [units, batch]; gx, a, saved and dgates hold one. Formula: torch.nn.RNN's documentation, differentiated by hand.
NaN stays NaN, as in torch.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS


@triton.jit
def step(gx, a, h, c, DIGITS: tl.constexpr):
    """h' = max(gx + a, 0); saves h'."""
    x = gx[0] + a[0]
    new = tl.where(x < 0.0, 0.0, x)
    return new, c, (new,)


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, DIGITS: tl.constexpr):
    """Gradient of the pre-activation, 0 where that was 0; h reaches the step through the product only."""
    return (tl.where(saved[0] <= 0.0, 0.0, dh),), 0.0, dc


RNN_RELU = NUMBERS["rnn_relu"]._replace(step=step, step_backward=step_backward)
