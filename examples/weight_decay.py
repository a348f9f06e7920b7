"""Weight decay: 200 inputs, 20 samples, with and without an L2 penalty, from scratch and by the optimiser.

    python examples/weight_decay.py --out out/weight_decay

y = 0.05 + 0.01 (x_1 + ... + x_200) plus noise of standard deviation 0.01, learnt from 20 samples. With ten times more
weights than samples the training error vanishes for any component of the weights outside the span of the samples. Without
a penalty this component keeps its initial value, N(0, 1) in 180 dimensions: its norm follows the chi distribution, mean 13.4
and standard deviation 0.7, and the test error is large. The penalty lambda ||w||^2 / 2 shrinks it to zero. The gradient of
the penalty is lambda w, so for plain SGD adding it to the loss is the same as `weight_decay=lambda` of the optimiser: both are
run and compared.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("weight_decay.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train with every lambda in both ways, from the same weights on the same samples, and compare."""
    options = experiment_parser(__doc__, fused=False, out="weight_decay", quick="1 seed in place of 5").parse_args(
        arguments
    )
    from examples.experiments.weight_decay import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
