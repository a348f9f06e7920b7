"""The GRU with the reset gate applied after the recurrent product: torch.nn.GRU's, cuDNN's.

Every block is [units, batch]. gx: r z n; a: r z and m = h W_hn^T + b_hn. Formulas: torch.nn.GRU's documentation,
differentiated by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.math import sigmoid, tanh


@triton.jit
def step(gx, a, h, c, DIGITS: tl.constexpr):
    """h' = n + z (h - n); saves r z n m."""
    r = sigmoid(gx[0] + a[0], DIGITS)
    z = sigmoid(gx[1] + a[1], DIGITS)
    n = tanh(gx[2] + r * a[2], DIGITS)
    return n + z * (h - n), c, (r, z, n, a[2])


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, DIGITS: tl.constexpr):
    """Gradients of the pre-activations dn dr dz, and dm of the product's part of n, which is inside r's bracket."""
    r, z, n, m = saved
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dz = dh * (h - n) * z * (1.0 - z)
    dr = dn * m * r * (1.0 - r)
    return (dn, dr, dz, dn * r), dh * z, dc


GRU = NUMBERS["gru"]._replace(step=step, step_backward=step_backward)
