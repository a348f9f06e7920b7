"""Polynomial fit: a good fit, overfitting, underfitting, and choosing the degree.

    python examples/polynomial.py --out out/polynomial

A cubic, y = 1.2 x - 3.4 x^2 + 5.6 x^3 + 5 plus noise of standard deviation 0.01, is fitted by gradient descent to

    normal      100 samples, features x, x^2, x^3: training and test error fall to the noise's variance, 1e-4
    overfit     2 samples for 4 parameters: the training error becomes small, the test error does not
    underfit    100 samples, feature x only: both errors stay large

(For some seeds a sample far from the mean makes the learning rate of 0.01 too large and training diverges: it is counted.)
Then the degree, known in the first part, is selected from the data: by a validation set (30 of 100 samples for training,
70 for validation) and by 10-fold cross-validation. Every degree from 3 on can fit, and their errors differ by chance, so
two rules are compared: the lowest error, and the simplest degree within one standard error of it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("polynomial.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the three cases, select the degree and write the results."""
    options = experiment_parser(
        __doc__, fused=False, out="polynomial", quick="3 seeds in place of 11, 15 draws in place of 100"
    ).parse_args(arguments)
    from examples.experiments.polynomial import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
