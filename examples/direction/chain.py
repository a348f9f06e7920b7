"""A labelling task that depends on later input, with the best possible result from the past alone.

The symbols x_1 .. x_T form a Markov chain: each equals the previous one with probability `stay`, else it is one of the others
with equal probability. The label of step t is x_{t+k}. From x_1 .. x_t alone, the best prediction is the most probable x_{t+k},
which is right with probability max_j (P^k)_{ij}, the same for every i here. A bidirectional net also reads the label.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Chain(NamedTuple):
    """The Markov chain; a label is the symbol `ahead` steps later."""

    symbols: int = 8
    stay: float = 0.7
    ahead: int = 2

    def transition(self) -> Tensor:
        """Return P, (symbols, symbols) float64: row i has the probabilities of the symbol after i."""
        other = (1 - self.stay) / (self.symbols - 1)
        return torch.full((self.symbols,) * 2, other, dtype=torch.float64).fill_diagonal_(self.stay)

    def ceiling(self) -> float:
        """Return the best accuracy possible from the past alone."""
        return float(torch.linalg.matrix_power(self.transition(), self.ahead).amax(1).mean())

    def floor(self) -> float:
        """Return the lowest perplexity possible from the past alone: exp of the entropy of x_{t+k} given x_t."""
        entropy = torch.special.entr(torch.linalg.matrix_power(self.transition(), self.ahead)).sum(1).mean()
        return float(entropy.exp())

    def draw(self, steps: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return symbols, (steps + ahead, batch) int64, and the labels of the first `steps` of them, (steps, batch)."""
        x = torch.empty(steps + self.ahead, batch, dtype=torch.int64)
        x[0] = torch.randint(self.symbols, (batch,), generator=generator)
        for t in range(1, len(x)):
            jump = torch.randint(1, self.symbols, (batch,), generator=generator)  # to one of the others
            moves = torch.rand(batch, generator=generator) >= self.stay
            x[t] = (x[t - 1] + jump * moves) % self.symbols
        return x, x[self.ahead :]


def noise(symbols: int) -> Chain:
    """Return a chain of independent, uniform characters labelled with the next one, which cannot be predicted."""
    return Chain(symbols, stay=1 / symbols, ahead=1)
