"""The measurements of `examples/dropin.py`: a classifier with nn.GRU and with FusedGRU."""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from examples.common.outcome import Data, Experiment
from examples.common.progress import progress
from fusedrnn import FusedGRU

TOKENS, MARKERS = 12, 4
WAYS = ("nn.GRU, packed", "FusedGRU, packed", "FusedGRU, lengths=")


class Classifier(nn.Module):
    """Classify tokens, (B, T) with lengths (B,): scores of the classes, (B, MARKERS)."""

    def __init__(self, rnn: Callable[..., nn.Module], hidden: int, *, packed: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.rnn = rnn(16, hidden, batch_first=True)
        self.head = nn.Linear(hidden, MARKERS)
        self.packed = packed

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores of the classes, computed from the last state of each sequence."""
        x = self.embedding(tokens)
        if self.packed:
            _, h = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        else:
            _, h = self.rnn(x, lengths=lengths)
        return self.head(h[-1])


class Curve(NamedTuple):
    """Results of one model; lists have one value per update."""

    loss: list[float]
    seconds: list[float]
    accuracy: float  # on new sequences, at the end


def run(options: argparse.Namespace) -> None:
    """Train the three models and compare losses and times."""
    source = f"generated: sequences of 5 to 40 tokens, {MARKERS} of {TOKENS} of them markers"
    experiment = Experiment("dropin", options, Data(source))
    curves = compare(options.backend, updates=120 if options.quick else 600, longest=40, seed=options.seed)
    first = curves[WAYS[0]]
    apart = {
        name: max(abs(a - b) for a, b in zip(curve.loss, first.loss, strict=True)) for name, curve in curves.items()
    }
    ratio = {name: _ratio(first, curve) for name, curve in curves.items()}
    table = [
        {
            "model": name,
            "last loss": curve.loss[-1],
            "largest difference from nn.GRU's loss": apart[name],
            "accuracy": curve.accuracy,
            "ms per update": 1000 * statistics.median(curve.seconds),
            "nn.GRU's time / its time": ratio[name],
        }
        for name, curve in curves.items()
    ]
    results = {"curves": {name: curve._asdict() for name, curve in curves.items()}, "apart": apart, "ratio": ratio}
    experiment.finish(results=results, table=table, conclusion=_conclude(curves, apart, ratio))


def compare(
    backend: str, *, updates: int, longest: int, seed: int, hidden: int = 32, batch: int = 32, exam: int = 500
) -> dict[str, Curve]:
    """Train the three models in turns on the same minibatches, evaluate on `exam` new sequences and return the results."""

    def fused(*sizes: int, **layout: bool) -> nn.Module:
        return FusedGRU(*sizes, **layout, backend=backend)

    models = {}
    for name in WAYS:
        torch.manual_seed(seed)
        models[name] = Classifier(nn.GRU if name.startswith("nn") else fused, hidden, packed="packed" in name)
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=0.01) for name, model in models.items()}
    losses: dict[str, list[float]] = {name: [] for name in WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    generator = torch.Generator().manual_seed(seed)
    for update in (bar := progress(range(updates), "three models", unit="update")):
        tokens, lengths, classes = draw(batch, longest, generator)
        turn = update % len(WAYS)
        for name in WAYS[turn:] + WAYS[:turn]:
            start = time.perf_counter()
            loss = cross_entropy(models[name](tokens, lengths), classes)
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
            losses[name].append(loss.item())
            seconds[name].append(time.perf_counter() - start)
        bar.set_postfix(loss=f"{losses[WAYS[0]][-1]:.3f}", refresh=False)
    tokens, lengths, classes = draw(exam, longest, generator)
    with torch.no_grad():
        right = {name: (models[name](tokens, lengths).argmax(1) == classes).double().mean().item() for name in WAYS}
    return {name: Curve(losses[name], seconds[name], right[name]) for name in WAYS}


def draw(batch: int, longest: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens padded with 0, (B, T) int64, the lengths, (B,), and the last marker of each sequence, (B,)."""
    lengths = torch.randint(5, longest + 1, (batch,), generator=generator)
    sequences = [torch.randint(TOKENS, (int(length),), generator=generator) for length in lengths]
    for sequence in sequences:
        if not (sequence < MARKERS).any():
            sequence[0] = torch.randint(MARKERS, (), generator=generator)
    classes = torch.stack([sequence[sequence < MARKERS][-1] for sequence in sequences])
    return pad_sequence(sequences, batch_first=True), lengths, classes


def _ratio(theirs: Curve, ours: Curve) -> float:
    """Return the median over the updates of the time of `theirs` divided by that of `ours`."""
    return statistics.median(a / b for a, b in zip(theirs.seconds, ours.seconds, strict=True))


def _conclude(curves: dict[str, Curve], apart: dict[str, float], ratio: dict[str, float]) -> str:
    _, packed, lengths = WAYS
    return (
        f"Over {len(curves[packed].loss)} updates the losses of FusedGRU stayed within {apart[packed]:.1e} of nn.GRU's with the "
        f"packed sequence and within {apart[lengths]:.1e} with lengths=; the accuracies at the end are "
        f"{', '.join(f'{curve.accuracy:.3f}' for curve in curves.values())}. nn.GRU's time over FusedGRU's was {ratio[packed]:.2f} "
        f"packed and {ratio[lengths]:.2f} with lengths= (median over the updates, {torch.get_num_threads()} threads, CPU)."
    )
