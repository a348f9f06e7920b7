"""The compared initialisations of a square layer, and their variances."""

import torch
from torch import Generator, Tensor

VARIANCE = {
    "normal": lambda width: 0.01**2,  # the textbook's N(0, 0.01^2), for any width
    "xavier": lambda width: 1 / width,  # Glorot & Bengio (2010): 2 / (fan_in + fan_out)
    "he": lambda width: 2 / width,  # He et al. (2015): 2 / fan_in, because ReLU zeroes half of the units
    "orthogonal": lambda width: 1 / width,  # Saxe et al. (2013): every singular value is 1
}


def gain(initialisation: str, width: int) -> float:
    """Return width * Var(w), the factor by which a layer's product scales the variance of its input."""
    return width * VARIANCE[initialisation](width)


def initial_weight(initialisation: str, width: int, generator: Generator) -> Tensor:
    """Draw the initial weight of a layer, (width, width) float64."""
    weight = torch.randn(width, width, generator=generator, dtype=torch.float64)
    if initialisation != "orthogonal":
        return weight * VARIANCE[initialisation](width) ** 0.5
    q, r = torch.linalg.qr(weight)
    return q * r.diagonal().sign()  # uniform over all orthogonal matrices (Mezzadri 2007)
