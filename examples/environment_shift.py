"""Distribution shift between training and use: the loss of accuracy, its detection and its correction.

    python examples/environment_shift.py --out out/environment_shift

A classifier is trained on labelled samples of a source distribution and used on a target distribution, of which only inputs
are known.

    covariate shift    p(x) changes, p(y | x) does not. Source samples are weighted by p_target(x) / p_source(x),
                       estimated by a classifier that separates source from target inputs.
    label shift        p(y) changes, p(x | y) does not. They are weighted by p_target(y) / p_source(y), estimated from the
                       confusion matrix and the predictions on the target.
    concept shift      p(y | x) changes, p(x) does not. Only labels of the target show it, so no weighting can correct it.

Each world has exactly one shift; a fourth has none. The gap is the accuracy that the same classifier gains from training on
labelled target samples; a correction is judged by the share of the gap that it closes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("environment_shift.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Study every world on several random draws."""
    options = experiment_parser(
        __doc__, fused=False, out="environment_shift", quick="5 draws of each world in place of 40"
    ).parse_args(arguments)
    from examples.experiments.environment_shift import (
        run,
    )  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
