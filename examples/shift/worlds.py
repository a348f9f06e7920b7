"""Four pairs of distributions in which at most one thing differs between training (source) and use (target)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Inputs (n, 2) and labels (n,)."""

    x: Array
    y: Labels

    def __getitem__(self, part: slice) -> "Samples":
        """Return a subset of the samples."""
        return Samples(self.x[part], self.y[part])


@dataclass(frozen=True)
class World:
    """Samplers before and after the shift, and the true ratios p_target / p_source of inputs and labels."""

    source: Callable[[np.random.Generator, int], Samples]
    target: Callable[[np.random.Generator, int], Samples]
    true_input_ratio: Callable[[Array], Array]
    true_label_ratio: Array


LEFT, RIGHT, SPREAD = -0.6, 0.6, 0.8  # the covariate: mean of x_1 before and after, and its standard deviation
PRIORS = np.array([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])  # of three classes, before and after
CENTRES = 1.3 * np.array([[0.0, 1.0], [-0.87, -0.5], [0.87, -0.5]])


def _inputs(draw: np.random.Generator, n: int, middle: float) -> Array:
    return draw.normal(size=(n, 2)) * [SPREAD, 1.0] + [middle, middle**2]


def _bent(draw: np.random.Generator, x: Array) -> Labels:
    """Draw labels that are likely 1 above the parabola x_2 = x_1^2, by a logistic model."""
    return _coin(draw, 4 * (x[:, 1] - x[:, 0] ** 2))


def _straight(draw: np.random.Generator, x: Array, angle: float) -> Labels:
    """Draw labels from a logistic model of a line through the mean of the inputs, rotated by `angle` degrees."""
    turned = np.deg2rad(angle)
    return _coin(draw, 4 * (x[:, 0] * np.cos(turned) + x[:, 1] * np.sin(turned)))


def _coin(draw: np.random.Generator, score: Array) -> Labels:
    return (draw.random(len(score)) < 1 / (1 + np.exp(-score))).astype(np.int64)


def _covariate(middle: float) -> Callable[[np.random.Generator, int], Samples]:
    def make(draw: np.random.Generator, n: int) -> Samples:
        x = _inputs(draw, n, middle)
        return Samples(x, _bent(draw, x))

    return make


def _label(priors: Array) -> Callable[[np.random.Generator, int], Samples]:
    def make(draw: np.random.Generator, n: int) -> Samples:
        y = draw.choice(3, n, p=priors)
        return Samples(CENTRES[y] + draw.normal(size=(n, 2)), y)

    return make


def _concept(angle: float) -> Callable[[np.random.Generator, int], Samples]:
    def make(draw: np.random.Generator, n: int) -> Samples:
        x = draw.normal(size=(n, 2))
        return Samples(x, _straight(draw, x, angle))

    return make


def _covariate_ratio(x: Array) -> Array:
    ratio: Array = np.exp((x[:, 0] - LEFT) ** 2 / (2 * SPREAD**2) - (x[:, 0] - RIGHT) ** 2 / (2 * SPREAD**2))
    return ratio


def _label_ratio(x: Array) -> Array:
    densities = np.exp(-((x[:, None] - CENTRES) ** 2).sum(axis=2) / 2)  # (n, 3), up to a factor
    ratio: Array = (densities @ PRIORS[1]) / (densities @ PRIORS[0])
    return ratio


def _ones(x: Array) -> Array:
    return np.ones(len(x))


WORLDS = {
    "no shift": World(_covariate(LEFT), _covariate(LEFT), _ones, np.ones(2)),
    "covariate shift": World(_covariate(LEFT), _covariate(RIGHT), _covariate_ratio, np.ones(2)),
    "label shift": World(_label(PRIORS[0]), _label(PRIORS[1]), _label_ratio, PRIORS[1] / PRIORS[0]),
    "concept shift": World(_concept(0), _concept(60), _ones, np.ones(2)),
}
