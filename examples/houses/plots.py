"""The figure of the house price experiment."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from examples.common.figures import new_figure

from .training import Fold


def plot(folds: Sequence[Fold]) -> Figure:
    """Plot the scores of the folds over epochs, and predicted over true prices of the held-out houses."""
    figure = new_figure(11, 4.5)
    curves, scatter = figure.subplots(1, 2)
    for number, fold in enumerate(folds):
        epochs = range(1, len(fold.train) + 1)
        curves.semilogy(epochs, fold.train, "C0", lw=1, label=None if number else "training houses, one line per fold")
        curves.semilogy(epochs, fold.valid, "C1--", lw=1, label=None if number else "held-out houses")
    curves.set_xlabel("epoch")
    curves.set_ylabel("root mean squared error of the log price")
    ticks = [0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 4]
    curves.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    curves.minorticks_off()
    curves.set_ylim(0.1, 5)
    curves.grid(alpha=0.3)
    curves.legend()
    prices = torch.cat([fold.held_out for fold in folds]) / 1000
    predicted = torch.cat([fold.predicted for fold in folds]).clamp(min=1) / 1000
    scatter.plot(prices, predicted, ".", ms=3, alpha=0.5)
    ends = [prices.min().item(), prices.max().item()]
    scatter.plot(ends, ends, "k-", lw=1, label="prediction = price")
    scatter.set_ylim(0, ends[1])
    scatter.set_xlabel("price, thousand dollars")
    scatter.set_ylabel("predicted when held out, thousand dollars")
    scatter.grid(alpha=0.3)
    scatter.legend()
    return figure
