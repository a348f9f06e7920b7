"""Layer normalisation in the derivatives of the time loop, derived by hand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fusedrnn.reference.norm import EPS, Gains


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """norm(x) over the last dimension, and 1 / sqrt(var(x) + eps), (..., 1), in the dtype of x."""
    y, _, scale = torch.native_layer_norm(x, x.shape[-1:], None, None, EPS)
    return y, scale.to(x.dtype)


def through(gradient: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """The gradient of x from that of y = norm(x): scale * (gradient - mean(gradient) - y * mean(gradient * y))."""
    along = (gradient * y).mean(-1, keepdim=True)
    return (gradient - gradient.mean(-1, keepdim=True) - y * along) * scale


class Normalised(NamedTuple):
    """The normalised recurrent products of all steps, and the parameters.

    Attributes:
        gains: the parameters.
        products: norm(W_hh h), (T, B, D, G*H).
        scale: 1 / sqrt(var(W_hh h) + eps), (T, B, D, 1).
    """

    gains: Gains
    products: Tensor
    scale: Tensor

    @classmethod
    def of(cls, gains: Gains, products: Tensor) -> Normalised:
        """From the products W_hh h of all steps, without bias."""
        return cls(gains, *statistics(products))

    def step(self, gradient: Tensor, t: int, d: int) -> Tensor:
        """The gradient of a step's W_hh h, (B, G*H), from that of what the gates add to gx."""
        return through(gradient * self.gains.gain_hh[d], self.products[t, :, d], self.scale[t, :, d])

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The same for all steps, (T, B, D, G*H), and the gradient of gain_hh."""
        return through(gradient * self.gains.gain_hh, self.products, self.scale), (gradient * self.products).sum((0, 1))
