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

from .counter_dropout import CHUNK, threshold
from .philox import random_groups

Update = Tensor | float
"""The weight of the new value of a state, booleans or one number for all."""


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


class Drawn(NamedTuple):
    """A layer's noise at every step: weights of the new h and c, and the factor of the candidate, (T, B, D, H), or None."""

    h: Update
    c: Update
    factor: Tensor | None


def drawn(noise: Noise, shape: Sequence[int], dtype: torch.dtype) -> Drawn:
    """Draw the masks of all steps, of `shape` (T, B, D, H).

    Element i, in row-major order, has group i of random words (see `philox`): the first for h, the second for c, the third for the
    candidate, or, if all steps share its mask, the fourth of element i of (B, D, H). The factor is float32, or float64 for that
    `dtype`.
    """
    (h, c), p = noise.zoneout, noise.dropout
    if noise.seed is None:
        return Drawn(1 - h, 1 - c, None)
    count, once = math.prod(shape), math.prod(shape[1:])
    masks = _kept(noise.seed, count, {0: h, 1: c, 2: 0.0 if noise.shared else p})
    masks |= _kept(noise.seed, once, {3: p if noise.shared else 0.0})
    factor = None
    if p:
        kept = masks[3].view(*shape[1:]).expand(*shape) if noise.shared else masks[2].view(*shape)
        factor = kept.to(torch.float64 if dtype == torch.float64 else torch.float32) * (1 / (1 - p))
    return Drawn(masks[0].view(*shape) if h else 1.0, masks[1].view(*shape) if c else 1.0, factor)


def _kept(seed: Tensor, count: int, rates: dict[int, float]) -> dict[int, Tensor]:
    """By word the elements (count,) that are kept, for each probability that is not 0; in chunks, as the words are 64 bits each."""
    rates = {word: p for word, p in rates.items() if p}
    if not rates:
        return {}
    whole = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    chunk = max(1, count) if whole else CHUNK // 4 if seed.device.type == "cpu" else 16 * CHUNK
    found: dict[int, list[Tensor]] = {word: [] for word in rates}
    for start in range(0, max(1, count), chunk):
        groups = random_groups(seed, start, min(chunk, count - start))
        for word, p in rates.items():
            found[word].append(groups[word] >= threshold(p))
    return {word: torch.cat(parts) for word, parts in found.items()}


def times_factor(candidate: Tensor, factor: Tensor | None) -> Tensor:
    """The candidate after recurrent dropout, rounded once; unchanged without a `factor`."""
    return candidate if factor is None else (candidate * factor).to(candidate.dtype)


def updated(new: Tensor, old: Tensor, weight: Update) -> Tensor:
    """``weight * new + (1 - weight) * old``."""
    if isinstance(weight, Tensor):
        return torch.where(weight, new, old)
    return new if weight == 1 else weight * new + (1 - weight) * old
