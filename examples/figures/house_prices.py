"""The figure of `examples/house_prices.py`: the score over the epochs, and predicted over true prices."""

import numpy as np
from matplotlib.figure import Figure

from examples.common.figures import COLOURS, Record, epochs, label_ends, new_figure

TICKS = [0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 4, 8]
STILL = 0.995  # of the score ten epochs before: below this it is still falling


def draw(record: Record) -> dict[str, Figure]:
    """Plot the scores of the folds over epochs, and predicted over true prices of the held-out houses."""
    results = record["results"]
    folds = results["folds"]
    train, valid = (np.array([fold[name] for fold in folds]) for name in ("train", "valid"))  # (folds, epochs)
    falling = valid[:, -1].mean() < STILL * valid[:, -11].mean()
    state = "is still falling: not converged" if falling else "has stopped falling"
    title = (
        f"The error of held-out houses is {results['valid']:.3f} after {valid.shape[1]} epochs (mean of {len(folds)} folds) "
        f"and {state}; one price for all would give {results['one price for all']:.3f}"
    )
    figure = new_figure(record, title, 3.8)
    curves, scatter = figure.subplots(1, 2)
    for name, values, style in (("train", train, "-"), ("test", valid, "--")):
        curves.semilogy(epochs(values[0]), values.T, style, color=COLOURS[name], lw=1)
    low, high = valid[:, -1].min(), valid.max()
    shown = [tick for tick in TICKS if 0.7 * min(low, train.min()) < tick < 1.2 * high]
    curves.set_yticks(shown, [f"{tick:g}" for tick in shown])
    curves.minorticks_off()
    curves.set_xlabel("epoch")
    curves.set_title("root mean squared error of the log price, a line per fold")
    label_ends(
        curves,
        [
            (valid[:, -1].mean(), "held out", COLOURS["test"]),
            (train[:, -1].mean(), "training", COLOURS["train"]),
        ],
    )
    prices, predicted = (np.concatenate([fold[name] for fold in folds]) / 1000 for name in ("held_out", "predicted"))
    scatter.plot(prices, np.maximum(predicted, 0), ".", ms=2.5, color=COLOURS["test"], alpha=0.5, mew=0)
    end = prices.max()
    scatter.plot([0, end], [0, end], color=COLOURS["theory"], lw=0.8, ls="--")
    scatter.text(end, end, "equal", fontsize=8, ha="right", va="bottom")
    dear = prices > np.quantile(prices, 0.95)
    share = predicted[dear].mean() / prices[dear].mean()
    scatter.set_title(f"the 5% dearest are predicted at {share:.0%} of their price")
    scatter.set_xlim(0)
    scatter.set_ylim(0)
    scatter.set_xlabel("price, thousand dollars")
    scatter.set_ylabel("predicted when held out")
    return {"errors.png": figure}
