"""A memory task in streams of episodes, with the best possible result for a model that is not told where they start.

A stream is a sequence of episodes, one directly after the other, cut off after its last step. An episode has 2 to 24 steps, n of
them with a probability proportional to 1/n: most are short, a few long. Its symbols are independent and uniform, and the label of
each of its steps is its first symbol. Nothing in the symbols shows where an episode starts.

Without the starts, the age of the episode at a step is known by its distribution alone, which is that of a renewal process: an
episode starts at step u with probability s_u = sum_n p_n s_{u-n}, s_0 = 1, and it is the current one at step t if it has more than
t - u steps. So label k has the probability sum_u s_u P(n > t - u) [x_u = k] at step t.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot, pad
from torch.nn.utils.rnn import pad_sequence

SYMBOLS, SHORTEST, LONGEST = 8, 2, 24
NO_LABEL = -100  # ignored by cross_entropy


class Streams(NamedTuple):
    """Symbols and labels, (T, B) int64, and where episodes start, (T, B) bool."""

    x: Tensor
    starts: Tensor
    labels: Tensor

    def ages(self) -> Tensor:
        """Return the steps since the start of the episode, (T, B) int64."""
        now = torch.arange(len(self.x)).unsqueeze(1)
        return now - torch.where(self.starts, now, 0).cummax(0).values


class Padded(NamedTuple):
    """The episodes of streams as samples of their own: symbols and labels, (longest, episodes), and their lengths."""

    x: Tensor
    lengths: Tensor
    labels: Tensor  # NO_LABEL in the padding


def draw(steps: int, batch: int, generator: Generator) -> Streams:
    """Draw streams of `steps` steps; each begins with a start."""
    x = torch.randint(SYMBOLS, (steps, batch), generator=generator)
    lengths = torch.multinomial(chances(), batch * (steps // SHORTEST + 1), replacement=True, generator=generator)
    ends = lengths.view(-1, batch).cumsum(0).clamp(max=steps)
    starts = torch.zeros(steps + 1, batch, dtype=torch.bool).scatter_(0, ends, value=True)[:steps]
    starts[0] = True
    first = torch.where(starts, torch.arange(steps).unsqueeze(1), 0).cummax(0).values
    return Streams(x, starts, x.gather(0, first))


def padded(streams: Streams) -> Padded:
    """Cut the streams into their episodes and pad these to the longest."""
    places = streams.starts.t().flatten().nonzero().flatten()
    lengths = pad(places, (0, 1), value=streams.x.numel()).diff()
    pieces = [part.t().flatten().split(lengths.tolist()) for part in (streams.x, streams.labels)]
    return Padded(pad_sequence(pieces[0]), lengths, pad_sequence(pieces[1], padding_value=NO_LABEL))


def chances() -> Tensor:
    """Return the probability of each length of an episode, (LONGEST + 1,) float64."""
    weights = torch.zeros(LONGEST + 1, dtype=torch.float64)
    weights[SHORTEST:] = 1 / torch.arange(SHORTEST, LONGEST + 1, dtype=torch.float64)
    return weights / weights.sum()


def best_guess(x: Tensor) -> Tensor:
    """Return the probabilities of the labels of every step, (T, B, SYMBOLS) float64, given the symbols but not the starts."""
    steps, p = len(x), chances().tolist()
    start = [1.0]
    for u in range(1, steps):
        start.append(sum(p[n] * start[u - n] for n in range(SHORTEST, min(LONGEST, u) + 1)))
    longer = [sum(p[age + 1 :]) for age in range(LONGEST)]  # P(n > age)
    current = torch.zeros(steps, steps, dtype=torch.float64)  # [t, u]: the episode of step t started at step u
    for t in range(steps):
        for u in range(max(0, t - LONGEST + 1), t + 1):
            current[t, u] = start[u] * longer[t - u]
    return torch.einsum("tu,ubk->tbk", current, one_hot(x, SYMBOLS).double())
