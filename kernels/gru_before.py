"""The GRU with the reset gate applied before the recurrent product (Cho et al. 2014): n needs r * h of every unit, so two phases.

Every block is [units, batch]. gx: r z n. The first phase multiplies h, its a: r z; the second multiplies r * h, its a: n.
Formulas: equations 5 to 8 of Cho et al. with torch.nn.GRU's meaning of z, differentiated by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.math import sigmoid, tanh


@triton.jit
def step(gx, a, h, c, DIGITS: tl.constexpr):
    """Exchanges r * h, keeps z; saves r z."""
    r = sigmoid(gx[0] + a[0], DIGITS)
    z = sigmoid(gx[1] + a[1], DIGITS)
    return r * h, z, (r, z)


@triton.jit
def step_late(gx, a, h, z, DIGITS: tl.constexpr):
    """h' = n + z (h - n); saves n."""
    n = tanh(gx[2] + a[0], DIGITS)
    return n + z * (h - n), (n,)


@triton.jit
def step_backward(dh, dc, saved, h, c, c_before, DIGITS: tl.constexpr):
    """Gradients of the pre-activations dz dn."""
    _, z, n = saved
    return (dh * (h - n) * z * (1.0 - z), dh * (1.0 - z) * (1.0 - n * n)), dh * z, dc


@triton.jit
def step_late_backward(drh, saved, h):
    """Gradient of the pre-activation dr, and of h through r * h."""
    r = saved[0]
    return (drh * h * r * (1.0 - r),), drh * r


GRU_BEFORE = NUMBERS["gru_before"]._replace(
    step=step, step_backward=step_backward, step_late=step_late, step_late_backward=step_late_backward
)
