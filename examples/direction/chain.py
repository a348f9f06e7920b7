"""A task whose answer lies ahead, and what can be known of it without looking there.

The symbols x_1 .. x_T form a Markov chain: each is the one before with probability `stay`, else any other one, all alike.
The label of step t is x_{t+k}. Who has read x_1 .. x_t knows the chain, not its future, and can do no better than guess
the likeliest x_{t+k}: that is right with probability max_j (P^k)_{ij}, the same for every i here. Who reads both ways
reads the label.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Chain(NamedTuple):
    """The chain and how far ahead its labels lie."""

    symbols: int = 8
    stay: float = 0.7
    ahead: int = 2

    def transition(self) -> Tensor:
        """Return P, (symbols, symbols) float64: row i holds the probabilities of what follows i."""
        other = (1 - self.stay) / (self.symbols - 1)
        return torch.full((self.symbols,) * 2, other, dtype=torch.float64).fill_diagonal_(self.stay)

    def ceiling(self) -> float:
        """Return the accuracy of the best guess from the past alone."""
        return float(torch.linalg.matrix_power(self.transition(), self.ahead).amax(1).mean())

    def floor(self) -> float:
        """Return the perplexity of who knows the past: exp of the entropy of x_{t+k} given x_t."""
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
    """Return a text of independent characters, all alike, whose labels are their successors: nothing can predict it."""
    return Chain(symbols, stay=1 / symbols, ahead=1)
