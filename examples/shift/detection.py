"""Tests of the null hypothesis that nothing has shifted; each returns a p-value."""

import numpy as np
from scipy.stats import binomtest, chi2_contingency
from sklearn.linear_model import LogisticRegression

from .worlds import Array, Labels


def by_predictions(source: Labels, target: Labels, classes: int) -> float:
    """Compare the frequencies of the predicted classes on source and target; needs no target labels.

    A chi-squared test of homogeneity (black box shift detection, Lipton, Wang & Smola 2018).
    """
    counts = np.stack([np.bincount(labels, minlength=classes) for labels in (source, target)])
    counts = counts[:, counts.any(axis=0)]
    return 1.0 if counts.shape[1] < 2 else float(chi2_contingency(counts).pvalue)


def by_inputs(source: Array, target: Array) -> float:
    """Test whether a classifier can separate source from target inputs; needs no labels.

    A classifier is fitted to every other input; without a shift its accuracy on the rest is about one half (Lopez-Paz &
    Oquab, "Revisiting classifier two-sample tests", 2017). It is linear, so it detects shifts of the mean. Source and
    target need equal numbers.
    """
    both, origin = np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
    classifier = LogisticRegression(max_iter=1000).fit(both[::2], origin[::2])
    right = classifier.predict(both[1::2]) == origin[1::2]
    return float(binomtest(int(right.sum()), len(right), alternative="greater").pvalue)


def by_errors(source_wrong: Array, target_wrong: Array) -> float:
    """Compare the classifier's error rates on source and target; needs target labels."""
    counts = [[wrong.sum(), len(wrong) - wrong.sum()] for wrong in (source_wrong, target_wrong)]
    return float(chi2_contingency(counts).pvalue)
