"""Resets inside a sequence, for layers that have none: every piece from one reset to the next is run as a sample of its own.

No state flows from piece to piece, so they run side by side, and as many steps as the longest one has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusedrnn.call import States
from fusedrnn.reference.loop import active_steps
from fusedrnn.reference.stack import Layer, LayerWeights


class Pieces:
    """The pieces of a batch, sample by sample in the order of time. Their number and lengths are read from values.

    Attributes:
        samples: the sample of each of the S pieces, (S,).
        lengths: the steps of each, (S,) int64.
        first, last: the first and the last piece of each sample, (B,).
        inside: the places of all N steps in (T, B), flattened: (N,).
        apart: their places in the (T', S) of the pieces, flattened: (N,).
    """

    def __init__(self, resets: Tensor, lengths: Tensor | None) -> None:
        T, B = resets.shape
        there = torch.ones_like(resets) if lengths is None else active_steps(lengths, T)
        starts = resets & there
        starts[0] = True
        piece = (
            (starts.t().reshape(-1).cumsum(0) - 1).view(B, T).t()
        )  # of each step; in the padding that of the last one
        self.samples, times = starts.t().nonzero().unbind(1)
        self.first, self.last = piece[0], piece[-1]
        self.inside = there.reshape(-1).nonzero().squeeze(1)
        piece = piece.reshape(-1).index_select(0, self.inside)
        self.lengths = torch.zeros_like(times).index_add(0, piece, torch.ones_like(piece))
        self.steps = int(self.lengths.max())
        time = torch.div(self.inside, B, rounding_mode="floor") - times.index_select(0, piece)
        self.apart = time * len(times) + piece

    def split(self, x: Tensor) -> Tensor:
        """(T', S, *), zero in the padding, from x (T, B, *)."""
        return _moved(x, self.inside, self.apart, self.steps, len(self.samples))

    def join(self, y: Tensor, steps: int) -> Tensor:
        """(T, B, *), zero in the padding, from y (T', S, *); the inverse of `split` for T = `steps`."""
        return _moved(y, self.apart, self.inside, steps, len(self.first))

    def finals(self, states: Tensor) -> Tensor:
        """States of the samples, (D, B, *), from those of the pieces, (D, S, *). The second direction ends in the first piece."""
        ends = (self.last, self.first)[: len(states)]
        return torch.stack([state.index_select(0, end) for state, end in zip(states, ends, strict=True)])


def _moved(x: Tensor, source: Tensor, target: Tensor, steps: int, batch: int) -> Tensor:
    """The rows of x (T, B, *) at the flattened places `source`, put at `target` in zeros of (steps, batch, *)."""
    rows = x.flatten(0, 1).index_select(0, source)
    moved: Tensor = x.new_zeros(steps * batch, *x.shape[2:]).index_copy(0, target, rows)
    return moved.view(steps, batch, *x.shape[2:])


def on_pieces(layer: Layer, resets: Tensor) -> Layer:
    """`layer` with `resets` (T, B) bool: where one is True, the sample starts anew from its initial state before this step.

    As `reference.loop` has it, in both directions.
    """
    found: list[Pieces] = []

    def run(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        if x.shape[1] == 0:
            return layer(x, states, directions, lengths)
        if not found:  # the same for all layers
            found.append(Pieces(resets, lengths))
        pieces = found[0]
        started = tuple([state.index_select(1, pieces.samples) for state in states])
        trace, finals = layer(pieces.split(x), started, directions, pieces.lengths)
        joined = tuple([pieces.join(each, len(x)) for each in trace])
        return joined, tuple([pieces.finals(state) for state in finals])

    return run
