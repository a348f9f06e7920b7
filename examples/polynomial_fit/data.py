"""Samples of the cubic polynomial that the experiment fits."""

from dataclasses import dataclass

import torch
from torch import Tensor

WEIGHTS = (1.2, -3.4, 5.6)  # of x, x^2, x^3
BIAS = 5.0
NOISE = 0.01


@dataclass(frozen=True)
class Samples:
    """Inputs x and targets y, both (n,) float64."""

    x: Tensor
    y: Tensor

    def __getitem__(self, places: Tensor | slice) -> "Samples":
        """Return a subset of the samples."""
        return Samples(self.x[places], self.y[places])

    def __len__(self) -> int:
        return len(self.x)


def powers(x: Tensor, degree: int) -> Tensor:
    """Return the features x, x^2, ..., x^degree of (n,) inputs as (n, degree)."""
    return x.unsqueeze(1) ** torch.arange(1, degree + 1)


def draw(n: int, generator: torch.Generator) -> Samples:
    """Draw x ~ N(0, 1) and y = 1.2 x - 3.4 x^2 + 5.6 x^3 + 5 + N(0, 0.01^2)."""
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    noise = NOISE * torch.randn(n, generator=generator, dtype=torch.float64)
    return Samples(x, powers(x, 3) @ torch.tensor(WEIGHTS, dtype=torch.float64) + BIAS + noise)
