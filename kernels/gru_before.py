"""The GRU with the reset gate applied before the recurrent product (Cho et al. 2014). n needs r * h of all units: two phases.

Blocks are [units, samples]. Order of gx: r, z, n. The first phase multiplies h (a: r, z), the second r * h (a: n).
Formulas: equations 5 to 8 of Cho et al. with z as in torch.nn.GRU; the gradients are derived by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.math import sigmoid, tanh


@triton.jit
def step(gx, a, h, c, factor, DIGITS: tl.constexpr):
    """First phase: exchanges r * h, keeps z for the second phase, saves r, z."""
    r = sigmoid(gx[0] + a[0], DIGITS)
    z = sigmoid(gx[1] + a[1], DIGITS)
    return r * h, z, (r, z)


@triton.jit
def step_late(gx, a, h, z, factor, DIGITS: tl.constexpr):
    """Second phase: h' = n + z * (h - n). Saves n."""
    n = tanh(gx[2] + a[0], DIGITS)
    y = n * factor
    return y + z * (h - y), (n,)


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, factor, DIGITS: tl.constexpr):
    """Gradients dz, dn of the pre-activations, and the direct part dh * z of the gradient of h."""
    _, z, n = saved
    dz = dh * (h - n * factor) * z * (1.0 - z)
    return (dz, dh * ((1.0 - z) * factor) * (1.0 - n * n)), dh * z, dc


@triton.jit
def step_late_backward(drh, saved, h):
    """Gradient dr of the pre-activation, and the gradient of h through r * h."""
    r = saved[0]
    return (drh * h * r * (1.0 - r),), drh * r


GRU_BEFORE = NUMBERS["gru_before"]._replace(
    step=step, step_backward=step_backward, step_late=step_late, step_late_backward=step_late_backward
)
