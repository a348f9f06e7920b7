"""A net that labels every step, with one direction or two, its training and its examination."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from examples.common.progress import progress
from fusedrnn import FusedGRU, FusedLSTM


class Source(Protocol):
    """Where sequences come from: a chain or a text."""

    @property
    def symbols(self) -> int:
        """How many different symbols there are."""

    def draw(self, steps: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return symbols, (steps or a few more, batch) int64, and the labels of the first `steps` of them."""


class Labeller(nn.Module):
    """Symbols (T, B) int64 in, scores of each step's label (T, B, symbols) out."""

    def __init__(self, cell: str, symbols: int, hidden: int, *, bidirectional: bool, backend: str) -> None:
        super().__init__()
        make = FusedLSTM if cell == "lstm" else FusedGRU
        self.recurrent = make(symbols, hidden, bidirectional=bidirectional, backend=backend)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), symbols)

    def forward(self, x: Tensor) -> Tensor:
        """Score every step."""
        return self.head(self.recurrent(x)[0])


class Result(NamedTuple):
    """What a labeller showed."""

    loss: list[float]  # of each training step, on new sequences
    accuracy: float  # on further new sequences, as all below
    perplexity: float
    last_accuracy: float  # of the last step of a sequence that ends there, so that its label is not in the input
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
    """Train by Adam on new sequences in every update; return the losses."""
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
    """Grade the model on new sequences, at their ends, and after a change of what comes later."""
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
