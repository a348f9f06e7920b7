"""A net that names the first symbol of the episode at every step, and four ways to train it on streams of episodes."""

import time
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from examples.common.progress import progress
from fusedrnn import FusedGRU, FusedLSTM, InitialState

from .episodes import LONGEST, NO_LABEL, SYMBOLS, Streams, draw, padded

RESETS, PADDED, MARKED, PLAIN = WAYS = ("resets=", "padded, lengths=", "starts in the input", "without starts")


class Recaller(nn.Module):
    """Map symbols, (T, B) int64, to scores of the labels, (T, B, SYMBOLS); the state starts from a trained one.

    The second half of the 2 SYMBOLS input symbols are those at which an episode starts. Only one way uses them; all ways have the
    same weights.
    """

    def __init__(self, cell: str, hidden: int, *, backend: str) -> None:
        super().__init__()
        make = FusedLSTM if cell == "lstm" else FusedGRU
        self.recurrent = make(2 * SYMBOLS, hidden, backend=backend)
        self.initial = InitialState(self.recurrent)
        self.head = nn.Linear(hidden, SYMBOLS)

    def forward(self, x: Tensor, *, resets: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """Return the scores; `resets` and `lengths` are those of the recurrent layer."""
        return self.head(self.recurrent(x, self.initial(x), lengths=lengths, resets=resets)[0])


class Result(NamedTuple):
    """Training and evaluation of one way."""

    loss: list[float]  # of every update, on new streams
    seconds: list[float]  # of every update
    steps: float  # in a minibatch with padding, on average
    accuracy: float  # on new streams, as all fields below
    exam_loss: float
    accuracy_by_age: list[float]  # of the steps 0, 1, .. LONGEST - 1 after the start of an episode

    def learnt(self, level: float = 0.1) -> int | None:
        """Return the first update with a loss below `level`, counted from 1, or None."""
        return next((update for update, loss in enumerate(self.loss, start=1) if loss < level), None)


def answer(model: Recaller, way: str, streams: Streams) -> tuple[Tensor, Tensor]:
    """Return the scores of every step, (T, B, SYMBOLS), and its labels, (T, B); padded, T and B are those of the episodes."""
    if way == PADDED:
        episodes = padded(streams)
        return model(episodes.x, lengths=episodes.lengths), episodes.labels
    if way == RESETS:
        return model(streams.x, resets=streams.starts), streams.labels
    return model(streams.x + SYMBOLS * streams.starts if way == MARKED else streams.x), streams.labels


def compare(
    cell: str,
    backend: str,
    *,
    updates: int,
    steps: int,
    seed: int,
    hidden: int = 32,
    batch: int = 16,
    exam: int = 500,
    lr: float = 0.01,
) -> tuple[dict[str, Result], Streams]:
    """Train all ways in turns on the same streams, evaluate them on `exam` new ones and return the results and these."""
    models = {}
    for way in WAYS:
        torch.manual_seed(seed)
        models[way] = Recaller(cell, hidden, backend=backend)
    optimizers = {way: torch.optim.Adam(model.parameters(), lr=lr) for way, model in models.items()}
    losses: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    sizes = dict.fromkeys(WAYS, 0)
    generator = torch.Generator().manual_seed(seed)
    for update in (bar := progress(range(updates), "four ways", unit="update")):
        streams = draw(steps, batch, generator)
        turn = update % len(WAYS)
        for way in WAYS[turn:] + WAYS[:turn]:
            start = time.perf_counter()
            scores, labels = answer(models[way], way, streams)
            loss = cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL)
            optimizers[way].zero_grad()
            loss.backward()
            optimizers[way].step()
            losses[way].append(loss.item())
            seconds[way].append(time.perf_counter() - start)
            sizes[way] += labels.numel()
        bar.set_postfix(loss=f"{losses[RESETS][-1]:.3f}", refresh=False)
    streams = draw(steps, exam, generator)
    with torch.no_grad():
        found = {way: grade(*_of_streams(model, way, streams), streams) for way, model in models.items()}
    return {way: Result(losses[way], seconds[way], sizes[way] / updates, *found[way]) for way in WAYS}, streams


def grade(scores: Tensor, labels: Tensor, streams: Streams) -> tuple[float, float, list[float]]:
    """Return accuracy, loss and accuracy by age of the scores, (T, B, SYMBOLS)."""
    right = (scores.argmax(-1) == labels).double().flatten()
    ages = one_hot(streams.ages().flatten(), LONGEST).double()
    loss = cross_entropy(scores.flatten(0, 1).double(), labels.flatten()).item()
    return right.mean().item(), loss, (right @ ages / ages.sum(0).clamp(min=1)).tolist()


def _of_streams(model: Recaller, way: str, streams: Streams) -> tuple[Tensor, Tensor]:
    """Return `answer`, put back into the streams if it was padded."""
    scores, labels = answer(model, way, streams)
    if way == PADDED:
        steps, batch = streams.x.shape
        real = labels.t() != NO_LABEL  # (episodes, longest): the order of the streams, one after the other
        scores = scores.transpose(0, 1)[real].view(batch, steps, SYMBOLS).transpose(0, 1)
    return scores, streams.labels
