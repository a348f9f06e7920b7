"""Vanishing and exploding gradients through layers and through time, compared with theory.

    python examples/gradients.py --out out/gradients
    python examples/gradients.py --quick

Depth: a random gradient is backpropagated through a random network of many layers on a random batch. Its norm at every layer
is compared with mean-field theory, which needs only the activation and the variance of the weights. The singular values of
the Jacobian show more than the norm: Glorot's variance preserves the mean of their squares, orthogonal weights preserve
every one. A network whose weights all start equal never learns more than one unit per layer can.

Time: the gradient of a loss at the last step with respect to the state k steps before, for the plain RNN (with its bound from
the singular values and its estimate from the spectral radius) and for the gated cells (with the factor of the gate alone).
Clipping by global norm bounds the step when gradients explode.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("gradients.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure gradients, compare them with theory and write the results."""
    options = experiment_parser(__doc__, out="gradients", quick="12 layers, 40 steps").parse_args(arguments)
    from examples.experiments.gradients import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
