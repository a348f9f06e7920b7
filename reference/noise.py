"""Zoneout and recurrent dropout: random changes of a cell's step, with masks that depend on seeds and indices alone.

Zoneout (Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", 2017, arXiv:1606.01305) keeps
a unit's state of the step before with probability p, in training, and takes the expectation in evaluation. With h' and c' the
states that the cell computes from h and c::

    h'' = m_h * h' + (1 - m_h) * h          m 1 or 0; in evaluation 1 - p
    c'' = m_c * c' + (1 - m_c) * c          h' is computed from c', not from c''

Recurrent dropout (Semeniuta, Severyn & Barth, "Recurrent dropout without memory loss", 2016, arXiv:1603.05118) drops elements
of the candidate, g of an LSTM and n of a GRU, and multiplies the rest by 1 / (1 - p); in evaluation it does nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .counter_dropout import threshold
from .philox import random_words

Update = Tensor | float
"""Weight of the new value of a state: booleans, or one number for all."""


class Noise(NamedTuple):
    """Zoneout and recurrent dropout of one layer. Probabilities are from 0 to below 1.

    Attributes:
        seed: (1,) int64, or None in evaluation.
        zoneout: probabilities for h and for c.
        dropout: probability for an element of the candidate.
        shared: whether all time steps share the mask of the candidate.
    """

    seed: Tensor | None
    zoneout: tuple[float, float] = (0.0, 0.0)
    dropout: float = 0.0
    shared: bool = False


def words(noise: Noise, shape: Sequence[int], word: int) -> Tensor:
    """One of the four random words of each element: 0 for h, 1 for c, 2 and 3 for a candidate per step and per sequence.

    Element i of `shape`, in row-major order, has word 4 i + `word` of the seed (see `philox`).
    """
    assert noise.seed is not None
    count = math.prod(shape)
    return random_words(noise.seed, 0, 4 * count).view(*shape, 4)[..., word]


def updates(noise: Noise, state: int, shape: Sequence[int]) -> Update:
    """The weight of the new value of h (``state`` 0) or c (1) at every step; its masks have `shape`, (T, B, D, H)."""
    p = noise.zoneout[state]
    if noise.seed is None or p == 0:
        return 1 - p
    return words(noise, shape, state) >= threshold(p)


def candidate_factors(noise: Noise, shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
    """What the candidate is multiplied by at every step, of `shape` (T, B, D, H), in float32, or float64 for that `dtype`; or None.

    With `Noise.shared`, element i of a step has the mask of element i of (B, D, H).
    """
    if noise.seed is None or noise.dropout == 0:
        return None
    kept = words(noise, shape[1:], 3).expand(*shape) if noise.shared else words(noise, shape, 2)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return (kept >= threshold(noise.dropout)).to(wide) * (1 / (1 - noise.dropout))


def times_factor(candidate: Tensor, factor: Tensor | None) -> Tensor:
    """The candidate after recurrent dropout, rounded once; unchanged without a `factor`."""
    return candidate if factor is None else (candidate * factor).to(candidate.dtype)


def updated(new: Tensor, old: Tensor, weight: Update) -> Tensor:
    """``weight * new + (1 - weight) * old``."""
    if isinstance(weight, Tensor):
        return torch.where(weight, new, old)
    return new if weight == 1 else weight * new + (1 - weight) * old
