"""House prices: Kaggle's competition with a linear model, 5-fold cross-validation and a submission file.

    python examples/house_prices.py --data DIR --out out/house_prices     # DIR has Kaggle's train.csv and test.csv
    python examples/house_prices.py                                       # a generated table, marked as such

The tables have numeric and text columns with many missing values. Numbers are standardised and text is one-hot encoded
(Kaggle's 79 columns: 330 features); nn.Linear is trained on the price by Adam. The score is the root mean squared error of
the log price, measured by 5-fold cross-validation. Then the model is trained on all houses and writes submission.csv.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.errors import UserError
from examples.common.files import write_whole
from examples.common.outcome import Data, Experiment
from examples.common.parser import experiment_parser
from examples.common.program import program
from examples.common.progress import progress
from examples.houses.features import Houses, prepare
from examples.houses.generated import generate_tables
from examples.houses.plots import plot
from examples.houses.tables import KEY, LABEL, read_tables
from examples.houses.training import Fold, fit, fit_fold, log_rmse, predict

FOLDS = 5
BAND = "train 0.1654 to 0.1656, valid 0.1702 to 0.1706 (Kaggle's files)"


@program("house_prices.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Read and prepare the tables, cross-validate, train on all houses and predict."""
    parser = experiment_parser(__doc__, fused=False, out="house_prices", quick="2 of the 5 folds")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with Kaggle's train.csv and test.csv; else generated data"
    )
    options = parser.parse_args(arguments)
    tables = read_tables(options.data) if options.data else generate_tables()
    experiment = Experiment("house_prices", options, Data(tables.source, tables.is_fallback))
    houses = prepare(tables)
    folds = validate(houses, options)
    write_submission(houses, options)
    numbers = summary(houses, folds)
    experiment.finish(
        results=numbers,
        table=[
            {"log-RMSE": name, "mean of the folds": numbers[name], "as sqrt(2 MSE)": numbers[f"{name}, sqrt(2 MSE)"]}
            for name in ("train", "valid")
        ],
        figures={"house_prices.png": plot(folds)},
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


if __name__ == "__main__":
    sys.exit(main())
