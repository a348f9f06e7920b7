"""House prices: Kaggle's competition with a linear model, 5-fold cross-validation and a submission file.

    python examples/house_prices.py --data DIR --out out/house_prices     # DIR has Kaggle's train.csv and test.csv
    python examples/house_prices.py                                       # a generated table, marked as such

The tables have numeric and text columns with many missing values. Numbers are standardised and text is one-hot encoded
(Kaggle's 79 columns: 330 features); nn.Linear is trained on the price by Adam. The score is the root mean squared error of
the log price, measured by 5-fold cross-validation. Then the model is trained on all houses and writes submission.csv.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("house_prices.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Read and prepare the tables, cross-validate, train on all houses and predict."""
    parser = experiment_parser(__doc__, fused=False, out="house_prices", quick="2 of the 5 folds")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with Kaggle's train.csv and test.csv; else generated data"
    )
    options = parser.parse_args(arguments)
    from examples.experiments.house_prices import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
