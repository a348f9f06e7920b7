"""Heads: blocks of units of equal size that do not see each other's state, so that W_hh is block-diagonal.

As in FlashRNN (Poeppel, Beck & Hochreiter, "FlashRNN: I/O-aware optimization of traditional RNNs on modern hardware", 2025). Each
gate has the units of all heads, head by head, as without heads; only the recurrent weights are in blocks, (N, G*H/N, H/N).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .loop import State
from .stack import Layer, LayerWeights


def with_heads(layer: Layer, heads: int, gates: int) -> Layer:
    """A layer of N = `heads` heads and G = `gates` gates, from a `layer` that takes each head of each direction as a direction."""

    def run(
        x: Tensor, states: State, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[State, State]:
        D = len(directions)
        apart = tuple(state.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1) for state in states)
        each = [head for direction in directions for head in heads_of(direction, heads, gates)]
        trace, finals = layer(x, apart, each, lengths)
        joined = tuple(rows.unflatten(2, (D, heads)).flatten(3) for rows in trace)
        return joined, tuple(s.unflatten(0, (D, heads)).transpose(1, 2).flatten(2) for s in finals)

    return run


def heads_of(direction: LayerWeights, heads: int, gates: int) -> list[LayerWeights]:
    """The weights of each head: w_ih (G*H/N, I), w_hh (G*H/N, H/N) and biases (G*H/N,)."""

    def rows(weight: Tensor | None) -> Sequence[Tensor | None]:
        if weight is None:
            return [None] * heads
        return torch.unflatten(weight, 0, (gates, heads, -1)).transpose(0, 1).flatten(1, 2).unbind()

    parts = zip(rows(direction.w_ih), direction.w_hh.unbind(), rows(direction.b_ih), rows(direction.b_hh), strict=True)
    return [LayerWeights(w_ih, w_hh, b_ih, b_hh) for w_ih, w_hh, b_ih, b_hh in parts if w_ih is not None]
