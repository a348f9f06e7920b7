"""Language models of few songs, evaluated on songs that they are not trained on."""

import statistics
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from examples.common.errors import UserError
from examples.common.progress import progress
from fusedrnn import FusedGRU, FusedLSTM

from .corpus import load_corpus
from .model import CharModel
from .optimizers import build_optimizer
from .sampling import consecutive, epoch_size
from .training import train_epoch

VALIDATION, TEST = 12, 12  # songs


class Texts(NamedTuple):
    """Three texts as ids, (n,) int64, of the bytes of their UTF-8: `symbols` different ones."""

    learnt: Tensor
    validation: Tensor
    test: Tensor
    symbols: int


class Curve(NamedTuple):
    """Losses per byte after every epoch, without dropout and with the expectation of zoneout, and the times of training."""

    learnt: list[float]
    validation: list[float]
    test: list[float]
    seconds: list[float]

    def best(self) -> int:
        """Return the epoch with the lowest validation loss, counted from 0."""
        return self.validation.index(min(self.validation))

    def summary(self) -> dict[str, float]:
        """Return the losses at the best epoch, counted from 1, and at the last one, and the median time of an epoch."""
        best = self.best()
        return {
            "best_epoch": best + 1,
            "best": self.validation[best],
            "last": self.validation[-1],
            "learnt": self.learnt[-1],
            "gap": self.validation[-1] - self.learnt[-1],
            "test": self.test[best],
            "seconds": statistics.median(self.seconds),
        }


def texts(songs: int) -> Texts:
    """Return the first `songs` of the default lyrics to learn, and two times twelve others.

    A Chinese character has three bytes.

    Raises:
        UserError: there are not as many songs.
    """
    parts = load_corpus("default", 10**6).text.strip().split("  ")  # line breaks are spaces, an empty line is two
    most = len(parts) - VALIDATION - TEST
    if songs > most:
        raise UserError(f"expected --songs of {most} or less, got {songs}")
    groups = (parts[:songs], parts[most:-TEST], parts[-TEST:])
    raw = ["  ".join(group).encode() for group in groups]
    index = {byte: number for number, byte in enumerate(sorted(set(b"".join(raw))))}
    ids = [torch.tensor([index[byte] for byte in text]) for text in raw]
    return Texts(ids[0], ids[1], ids[2], len(index))


def fit(
    cell: str,
    ids: Texts,
    *,
    epochs: int,
    hidden: int,
    seed: int,
    name: str,
    steps: int = 20,
    batch_size: int = 16,
    **options: Any,
) -> Curve:
    """Train a model whose recurrent layer has these options, with Adam; evaluate it after every epoch.

    Raises:
        UserError: the learnt text is too short for one minibatch.
    """
    epoch_size("consecutive", len(ids.learnt), batch_size, steps)
    torch.manual_seed(seed)
    make = FusedLSTM if cell == "lstm" else FusedGRU
    model = CharModel(make(ids.symbols, hidden, **options), hidden, ids.symbols, "xavier")
    optimizer = build_optimizer("adam", model.parameters(), 0.01)
    curve = Curve([], [], [], [])
    for _ in (bar := progress(range(epochs), name)):
        start = time.perf_counter()
        batches = consecutive(ids.learnt, batch_size, steps)
        train_epoch(model, optimizer, batches, clip=1.0, carry_state=True, progress=lambda characters: None)
        curve.seconds.append(time.perf_counter() - start)
        for losses, text in zip(curve[:3], ids[:3], strict=True):
            losses.append(evaluate(model, text))
        bar.set_postfix(validation=f"{curve.validation[-1]:.3f}", refresh=False)
    return curve


@torch.no_grad()
def evaluate(model: CharModel, ids: Tensor, rows: int = 32) -> float:
    """Return the loss per byte of a text, read as `rows` rows from zero states, in evaluation mode."""
    inputs, labels = next(consecutive(ids, rows, len(ids) // rows - 1))
    model.eval()
    scores, _ = model(inputs)
    model.train()
    return cross_entropy(scores.flatten(0, 1).double(), labels.flatten()).item()
