"""The Elman network with tanh, the default of torch.nn.RNN.

Blocks are [units, samples]; gx, a, saved and dgates have one each. Formula: torch.nn.RNN's documentation; gradient by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.math import tanh


@triton.jit
def step(gx, a, h, c, factor, DIGITS: tl.constexpr):
    """h' = tanh(gx + a). Saves h'."""
    new = tanh(gx[0] + a[0], DIGITS)
    return new, c, (new,)


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, factor, DIGITS: tl.constexpr):
    """Gradient of the pre-activation. h enters through the recurrent product only."""
    return (dh * (1.0 - saved[0] * saved[0]),), 0.0, dc


RNN_TANH = NUMBERS["rnn_tanh"]._replace(step=step, step_backward=step_backward)
