"""A net that labels every step, with one direction or two, its training and evaluation."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from examples.common.progress import progress
from fusedrnn import FusedGRU, FusedLSTM


class Source(Protocol):
    """A source of labelled sequences: a chain or a text."""

    @property
    def symbols(self) -> int:
        """Number of different symbols."""

    def draw(self, steps: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return symbols, (steps or a few more, batch) int64, and the labels of the first `steps` of them."""


class Labeller(nn.Module):
    """Map symbols, (T, B) int64, to scores of the label of every step, (T, B, symbols)."""

    def __init__(self, cell: str, symbols: int, hidden: int, *, bidirectional: bool, backend: str) -> None:
        super().__init__()
        make = FusedLSTM if cell == "lstm" else FusedGRU
        self.recurrent = make(symbols, hidden, bidirectional=bidirectional, backend=backend)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), symbols)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the labels."""
        return self.head(self.recurrent(x)[0])


class Result(NamedTuple):
    """Training losses and evaluation of a labeller."""

    loss: list[float]  # of every training step, on new sequences
    accuracy: float  # on new sequences, as all fields below
    perplexity: float
    last_accuracy: float  # of the last step, whose label is not in the input
    last_perplexity: float
    reads_ahead: float  # largest change of a score when only later symbols change; 0 for a model of the past


def train(
    model: Labeller,
    source: Source,
    *,
    updates: int,
    steps: int,
    batch: int,
    generator: Generator,
    name: str,
    lr: float = 0.01,
) -> list[float]:
    """Train with Adam, on new sequences in every update; return the losses."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for _ in (bar := progress(range(updates), name, unit="update")):
        x, labels = source.draw(steps, batch, generator)
        loss = cross_entropy(model(x)[:steps].flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


@torch.no_grad()
def examine(
    model: Labeller, source: Source, losses: list[float], *, steps: int, batch: int, generator: Generator
) -> Result:
    """Evaluate the model on new sequences, on their last steps, and after a change of later symbols."""
    x, labels = source.draw(steps, batch, generator)
    accuracy, perplexity = _grade(model(x)[:steps], labels)
    last_accuracy, last_perplexity = _grade(model(x[:steps])[-1:], labels[-1:])
    middle = steps // 2
    other = x.clone()
    other[middle:] = (other[middle:] + 1) % source.symbols
    change = (model(x)[:middle] - model(other)[:middle]).abs().max().item()
    return Result(losses, accuracy, perplexity, last_accuracy, last_perplexity, change)


def _grade(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return accuracy and perplexity."""
    right = (scores.argmax(-1) == labels).double().mean().item()
    return right, math.exp(cross_entropy(scores.flatten(0, 1).double(), labels.flatten()).item())
