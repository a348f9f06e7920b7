"""Gate mathematics of each cell, forward and backward, for one slice of units and one tile of the batch.

Every argument is a block [units, batch] in the accumulation dtype. ``gx_*`` is the input side x W_ih^T + b_ih, ``a_*`` the
recurrent product h W_hh^T + b_hh. A function returns the new state and what the backward needs; its ``_backward`` twin takes
the gradient of the new state and those values. Formulas: the reference's cells, differentiated by hand.
"""

import triton
import triton.language as tl

from fusedrnn.kernels.math import sigmoid, tanh


@triton.jit
def gru(gx_r, gx_z, gx_n, a_r, a_z, m, h, DIGITS: tl.constexpr):
    """Reset after the product (torch.nn, cuDNN): returns h', r, z, n."""
    r = sigmoid(gx_r + a_r, DIGITS)
    z = sigmoid(gx_z + a_z, DIGITS)
    n = tanh(gx_n + r * m, DIGITS)
    return n + z * (h - n), r, z, n


@triton.jit
def gru_backward(dh, r, z, n, m, h):
    """Gradients of the pre-activations dr, dz, dn, of m = h W_hn^T + b_hn, and the direct part of dh."""
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dz = dh * (h - n) * z * (1.0 - z)
    dr = dn * m * r * (1.0 - r)
    return dr, dz, dn, dn * r, dh * z


@triton.jit
def reset_before_gates(gx_r, gx_z, a_r, a_z, DIGITS: tl.constexpr):
    """First half of Cho et al.'s step: r and z; the product of r * h follows."""
    return sigmoid(gx_r + a_r, DIGITS), sigmoid(gx_z + a_z, DIGITS)


@triton.jit
def reset_before_state(gx_n, a_n, z, h, DIGITS: tl.constexpr):
    """Second half: returns h', n."""
    n = tanh(gx_n + a_n, DIGITS)
    return n + z * (h - n), n


@triton.jit
def reset_before_state_backward(dh, z, n, h):
    """Gradients of the pre-activations dz, dn, and the direct part of dh."""
    return dh * (h - n) * z * (1.0 - z), dh * (1.0 - z) * (1.0 - n * n), dh * z


@triton.jit
def reset_before_gates_backward(drh, r, h):
    """Gradient of the pre-activation dr and the part of dh through r * h."""
    return drh * h * r * (1.0 - r), drh * r


@triton.jit
def lstm(gx_i, gx_f, gx_g, gx_o, a_i, a_f, a_g, a_o, c, DIGITS: tl.constexpr):
    """Returns h', c', i, f, g, o."""
    i = sigmoid(gx_i + a_i, DIGITS)
    f = sigmoid(gx_f + a_f, DIGITS)
    g = tanh(gx_g + a_g, DIGITS)
    o = sigmoid(gx_o + a_o, DIGITS)
    c = f * c + i * g
    return o * tanh(c, DIGITS), c, i, f, g, o


@triton.jit
def lstm_backward(dh, dc, i, f, g, o, c, c_previous, DIGITS: tl.constexpr):
    """Gradients of the pre-activations di, df, dg, do, and of the previous c."""
    y = tanh(c, DIGITS)
    dc = dc + dh * o * (1.0 - y * y)
    di = dc * g * i * (1.0 - i)
    df = dc * c_previous * f * (1.0 - f)
    dg = dc * i * (1.0 - g * g)
    do = dh * y * o * (1.0 - o)
    return di, df, dg, do, dc * f
