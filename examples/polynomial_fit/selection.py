"""Selection of the degree with held-out data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .data import Samples
from .fitting import squared_errors

DEGREES = range(1, 10)


@dataclass(frozen=True)
class Choice:
    """Errors by degree, and the degrees selected by the held-out errors.

    `lowest` is the degree with the lowest error; from degree 3 on, the errors differ by chance only. `simplest` is the
    lowest degree whose error is within one standard error of the lowest error (Breiman, Friedman, Olshen & Stone,
    "Classification and regression trees", 1984, section 3.4.3).
    """

    train: list[float]
    held_out: list[float]
    lowest: int
    simplest: int


def by_validation_set(train: Samples, validation: Samples) -> Choice:
    """Evaluate every degree on one validation set."""
    held_out = [squared_errors(train, validation, degree) for degree in DEGREES]
    return _choose(train, [e.mean() for e in held_out], [e.std() / len(validation) ** 0.5 for e in held_out])


def by_folds(samples: Samples, folds: int, generator: torch.Generator) -> Choice:
    """Evaluate every degree by cross-validation with `folds` folds."""
    parts = torch.randperm(len(samples), generator=generator).chunk(folds)
    means = torch.stack([_fold_means(samples, parts, degree) for degree in DEGREES])  # (degrees, folds)
    return _choose(samples, means.mean(dim=1).unbind(), (means.std(dim=1) / folds**0.5).unbind())


def _fold_means(samples: Samples, parts: Sequence[Tensor], degree: int) -> Tensor:
    means = []
    for k, held_out in enumerate(parts):
        rest = torch.cat([part for j, part in enumerate(parts) if j != k])
        means.append(squared_errors(samples[rest], samples[held_out], degree).mean())
    return torch.stack(means)


def _choose(train: Samples, means: Iterable[Tensor], standard_errors: Iterable[Tensor]) -> Choice:
    held_out = [mean.item() for mean in means]
    best = min(range(len(held_out)), key=held_out.__getitem__)
    limit = held_out[best] + [error.item() for error in standard_errors][best]
    simplest = next(degree for degree, error in zip(DEGREES, held_out, strict=True) if error <= limit)
    on_train = [squared_errors(train, train, degree).mean().item() for degree in DEGREES]
    return Choice(on_train, held_out, DEGREES[best], simplest)
