"""Resets inside a sequence, for layers that have none: every piece from one reset to the next is run as a sample of its own.

No state flows from piece to piece, so they run side by side. Pieces of very different lengths run in groups, so that their padding
is no more than their steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusedrnn.call import States
from fusedrnn.operators.packing import pack, put
from fusedrnn.reference.loop import active_steps
from fusedrnn.reference.stack import Layer, LayerWeights


class Group(NamedTuple):
    """Pieces that run together, S of them, with N steps in all.

    Attributes:
        pieces: which they are, (S,).
        samples: the sample of each, (S,).
        lengths: the steps of each, (S,) int64.
        steps: T', those of the longest.
        inside: the places of all steps in (T, B), flattened: (N,).
        apart: their places in (T', S), flattened: (N,).
    """

    pieces: Tensor
    samples: Tensor
    lengths: Tensor
    steps: int
    inside: Tensor
    apart: Tensor

    def split(self, x: Tensor) -> Tensor:
        """(T', S, *), zero in the padding, from x (T, B, *)."""
        return put(pack(x, self.inside), self.apart, self.steps, len(self.samples))


class Pieces:
    """The pieces of a batch, numbered sample by sample in the order of time. Their number and lengths are read from values.

    Attributes:
        groups: every piece is in one of them.
        inside: the places of the steps of all groups, one after the other, in (T, B), flattened.
        first, last: the first and the last piece of each sample as places in the groups, one after the other, (B,).
    """

    def __init__(self, resets: Tensor, lengths: Tensor | None) -> None:
        T, B = resets.shape
        there = torch.ones_like(resets) if lengths is None else active_steps(lengths, T)
        starts = resets & there
        starts[0] = True
        # The piece of each step, (T, B); a step in the padding has that of the step before.
        piece = (starts.t().reshape(-1).cumsum(0) - 1).view(B, T).t()
        samples, begins = starts.t().nonzero().unbind(1)
        inside = there.reshape(-1).nonzero().squeeze(1)
        of_step = piece.reshape(-1).index_select(0, inside)
        time = torch.div(inside, B, rounding_mode="floor") - begins.index_select(0, of_step)
        sizes = torch.zeros_like(begins).index_add(0, of_step, torch.ones_like(of_step))
        self.groups = []
        for pieces in _together(sizes):
            place = torch.full_like(begins, -1).index_copy(0, pieces, torch.arange(len(pieces), device=begins.device))
            own = place.index_select(0, of_step)
            steps = (own >= 0).nonzero().squeeze(1)
            apart = time.index_select(0, steps) * len(pieces) + own.index_select(0, steps)
            found = sizes.index_select(0, pieces)
            self.groups.append(
                Group(
                    pieces,
                    samples.index_select(0, pieces),
                    found,
                    int(found.max()),
                    inside.index_select(0, steps),
                    apart,
                )
            )
        self.inside = torch.cat([group.inside for group in self.groups])
        order = torch.cat([group.pieces for group in self.groups])
        places = torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device))
        self.first, self.last = places.index_select(0, piece[0]), places.index_select(0, piece[-1])

    def join(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """(T, B, *), as in `like` (T, B, ...), zero in the padding, from what each group gives, (T', S, *)."""
        rows = torch.cat([pack(part, group.apart) for group, part in zip(self.groups, parts, strict=True)])
        return put(rows, self.inside, *like.shape[:2])

    def finals(self, parts: Sequence[Tensor]) -> Tensor:
        """States of the samples, (D, B, *), from those of each group, (D, S, *). The second direction ends in the first piece."""
        states = torch.cat(list(parts), 1)
        ends = (self.last, self.first)[: len(states)]
        return torch.stack([state.index_select(0, end) for state, end in zip(states, ends, strict=True)])


def _together(sizes: Tensor) -> list[Tensor]:
    """The pieces of each group, from the sizes (S,) of all: one group, or one for each power of two if one were padded too much."""
    if int(sizes.max()) * len(sizes) <= 2 * int(sizes.sum()):
        return [torch.arange(len(sizes), device=sizes.device)]
    powers = torch.frexp((sizes - 1).double()).exponent  # 0 for 1, then the least p with size <= 2^p
    return [(powers == p).nonzero().squeeze(1) for p in powers.unique().tolist()]


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
        pieces, traces, finals = found[0], [], []
        for group in pieces.groups:
            started = tuple([state.index_select(1, group.samples) for state in states])
            trace, final = layer(group.split(x), started, directions, group.lengths)
            traces.append(trace)
            finals.append(final)
        joined = tuple([pieces.join(parts, x) for parts in zip(*traces, strict=True)])
        return joined, tuple([pieces.finals(parts) for parts in zip(*finals, strict=True)])

    return run
