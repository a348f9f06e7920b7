"""The GRU with the reset gate applied after the recurrent product, as in torch.nn.GRU and cuDNN.

Blocks are [units, samples]. Order of gx: r, z, n; of a: r, z, m with m = h W_hn^T + b_hn. Formulas: torch.nn.GRU's documentation;
the gradients are derived by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.math import sigmoid, tanh


@triton.jit
def step(gx, a, h, c, factor, DIGITS: tl.constexpr):
    """h' = n + z * (h - n). Saves r, z, n, m."""
    r = sigmoid(gx[0] + a[0], DIGITS)
    z = sigmoid(gx[1] + a[1], DIGITS)
    n = tanh(gx[2] + r * a[2], DIGITS)
    y = n * factor
    return y + z * (h - y), c, (r, z, n, a[2])


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, factor, DIGITS: tl.constexpr):
    """Gradients dn, dr, dz of the pre-activations, and dm = dn * r of the recurrent product m of n."""
    r, z, n, m = saved
    dn = dh * ((1.0 - z) * factor) * (1.0 - n * n)
    dz = dh * (h - n * factor) * z * (1.0 - z)
    dr = dn * m * r * (1.0 - r)
    return (dn, dr, dz, dn * r), dh * z, dc


GRU = NUMBERS["gru"]._replace(step=step, step_backward=step_backward)
