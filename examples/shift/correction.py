"""Importance weighting: training on weighted source samples for a target without labels."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from .worlds import Array, Labels, Samples


def fit(samples: Samples, weights: Array | None = None) -> LogisticRegression:
    """Fit a linear classifier with sample weights, (n,)."""
    return LogisticRegression(max_iter=1000).fit(samples.x, samples.y, sample_weight=weights)


def input_weights(source: Array, target: Array) -> Array:
    """Estimate p_target(x) / p_source(x) at every source input with a classifier of source and target.

    A classifier that gives the probability d(x) that x is from the target satisfies d / (1 - d) = (m / n) p_target / p_source,
    with n source and m target inputs (Bickel, Brueckner & Scheffer, "Discriminative learning for differing training and
    test distributions", 2007).

    Returns:
        The ratios, (n,).
    """
    origin = np.repeat([0, 1], [len(source), len(target)])
    classifier = LogisticRegression(max_iter=1000).fit(np.concatenate([source, target]), origin)
    ratio: Array = np.exp(classifier.decision_function(source)) * len(source) / len(target)
    return ratio


def label_weights(predicted_held_out: Labels, held_out: Labels, predicted_target: Labels, classes: int) -> Array:
    """Estimate p_target(y) / p_source(y) from a classifier's predictions on the target and its confusion matrix.

    If p(x | y) does not change, p_target(yhat = i) = sum_j p_source(yhat = i, y = j) w_j: black box shift estimation
    (Lipton, Wang & Smola, "Detecting and correcting for label shift with black box predictors", 2018). The matrix must come
    from source samples that were not used for training; negative solutions are set to 0.

    Returns:
        The ratios w, (classes,).
    """
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (predicted_held_out, held_out), 1 / len(held_out))
    predicted = np.bincount(predicted_target, minlength=classes) / len(predicted_target)
    solution = np.linalg.lstsq(confusion, predicted, rcond=None)[0]
    weights: Array = np.maximum(solution, 0)
    return weights
