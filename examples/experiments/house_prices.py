"""The measurements of `examples/house_prices.py`: cross-validation, and the submission."""

import argparse
from collections.abc import Sequence
from statistics import mean

import torch

from examples.common.errors import UserError
from examples.common.files import write_whole
from examples.common.outcome import Data, Experiment
from examples.common.progress import progress
from examples.houses.features import Houses, prepare
from examples.houses.generated import generate_tables
from examples.houses.tables import KEY, LABEL, read_tables
from examples.houses.training import Fold, fit, fit_fold, log_rmse, predict

FOLDS = 5
BAND = "train 0.1654 to 0.1656, valid 0.1702 to 0.1706 (Kaggle's files)"


def run(options: argparse.Namespace) -> None:
    """Read and prepare the tables, cross-validate, train on all houses and predict."""
    tables = read_tables(options.data) if options.data else generate_tables()
    experiment = Experiment("house_prices", options, Data(tables.source, tables.is_fallback))
    houses = prepare(tables)
    folds = validate(houses, options)
    write_submission(houses, options)
    numbers = summary(houses, folds)
    experiment.finish(
        results={**numbers, "folds": [vars(fold) for fold in folds]},
        table=[
            {"log-RMSE": name, "mean of the folds": numbers[name], "as sqrt(2 MSE)": numbers[f"{name}, sqrt(2 MSE)"]}
            for name in ("train", "valid")
        ],
        conclusion=conclude(numbers, folds),
        packages=("pandas",),
    )
    print(f"prices of the {len(houses.test)} test houses: {options.out / 'submission.csv'}")


def validate(houses: Houses, options: argparse.Namespace) -> list[Fold]:
    """Train and evaluate every fold."""
    if len(houses.prices) < 2 * FOLDS:
        raise UserError(f"expected at least {2 * FOLDS} houses for {FOLDS} folds, got {len(houses.prices)}")
    numbers = range(2 if options.quick else FOLDS)
    return [
        fit_fold(houses, k, FOLDS, options.seed + k) for k in progress(numbers, f"{FOLDS}-fold validation", unit="fold")
    ]


def write_submission(houses: Houses, options: argparse.Namespace) -> None:
    """Train on all houses and write Kaggle's submission format: Id,SalePrice, one line per test house."""
    torch.manual_seed(options.seed)
    model = fit(houses.train, houses.prices)
    prices = predict(model, houses.test).clamp(min=1).tolist()
    lines = [f"{KEY},{LABEL}", *[f"{key},{price:.2f}" for key, price in zip(houses.test_ids, prices, strict=True)]]
    write_whole(options.out / "submission.csv", ("\n".join(lines) + "\n").encode())


def summary(houses: Houses, folds: Sequence[Fold]) -> dict[str, float]:
    """Return the mean scores of the folds by both formulas, and the score of predicting the mean log price for all."""
    train, valid = mean(fold.train[-1] for fold in folds), mean(fold.valid[-1] for fold in folds)
    middle = houses.prices.log().mean().exp().expand_as(houses.prices)
    return {
        "features": len(houses.names),
        "train": train,
        "valid": valid,
        "train, sqrt(2 MSE)": 2**0.5 * train,
        "valid, sqrt(2 MSE)": 2**0.5 * valid,
        "one price for all": log_rmse(middle, houses.prices),
    }


def conclude(numbers: dict[str, float], folds: Sequence[Fold]) -> str:
    """Summarise the results in a paragraph."""
    valid = [fold.valid[-1] for fold in folds]
    return (
        f"From {numbers['features']} features a linear model predicts the log price of held-out houses with an error of "
        f"{numbers['valid']:.4f} (folds: {min(valid):.3f} to {max(valid):.3f}), about {100 * numbers['valid']:.0f} % of "
        f"the price, and that of training houses with {numbers['train']:.4f}; one price for all would score "
        f"{numbers['one price for all']:.3f}. Expected: {BAND}. The textbook's formula sqrt(2 MSE) assumes a "
        f"loss of MSE/2; here it is MSE, so it prints {numbers['valid, sqrt(2 MSE)']:.4f} for the same predictions."
    )
