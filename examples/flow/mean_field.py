"""Mean-field theory of a wide random network: the variance gain of every layer, forward and backward.

In a wide layer the pre-activations are sums of many terms, so they are approximately normal with some variance q. From layer to
layer (Poole et al. 2016; Schoenholz et al. 2017), with gain = width * Var(w) and z ~ N(0, 1)::

    q' = gain * E[phi(sqrt(q) z)^2]            the signal
    |dL/dh|^2 = chi * |dL/dh'|^2               the gradient, chi = gain * E[phi'(sqrt(q) z)^2]

chi below 1 makes gradients vanish with depth, chi above 1 makes them explode. Glorot's and He's variances set chi to 1
for linear units and for ReLU. The sigmoid has a derivative of at most 1/4, so its chi is at most gain / 16.
"""

import torch
from torch import Tensor

from .activations import ACTIVATIONS

# midpoints of an even number of intervals, so that none is at 0, the kink of ReLU
_Z = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 20 - 10
_DENSITY = torch.softmax(-(_Z**2) / 2, dim=0)


def gradient_gains(activation: str, gain: float, depth: int) -> Tensor:
    """Return chi of every layer, (depth,), first layer first, for an input of variance 1."""
    function, derivative = ACTIVATIONS[activation]
    q = gain
    chi = []
    for _ in range(depth):
        u = q**0.5 * _Z
        chi.append(gain * float((_DENSITY * derivative(u) ** 2).sum()))
        q = gain * float((_DENSITY * function(u) ** 2).sum())
    return torch.tensor(chi, dtype=torch.float64)


def largest_singular_value(gain: float, distance: int) -> float:
    """Return the largest singular value of a product of `distance` wide matrices with independent normal entries.

    The squares follow the Fuss-Catalan law, whose edge is (L + 1)^(L + 1) / L^L (Penson & Zyczkowski 2011); for one matrix the
    value is 2, as in Marchenko & Pastur (1967). It grows with L, although the mean of the squares is gain^L.
    """
    L = distance
    return float((gain**L * (L + 1) ** (L + 1) / L**L) ** 0.5)
