"""Comparison of cells: plain RNN, both GRUs and the LSTM trained on the same lyrics, with both sampling methods.

    python examples/cells.py --out out/cells
    python examples/cells.py --quick
    python examples/cells.py --hidden 256 --max-chars 10000 --corpus published     # the textbook's size and text

Every run uses the defaults of lyrics.py, which are those of the published experiment (35 steps, batch 32, weights
N(0, 0.01^2), gradients clipped to a global norm of 0.01, learning rate 100, so that each step has length 1), but half the
text and half the units, so that all eight runs take minutes. Consecutive sampling carries the state from minibatch to
minibatch; random sampling starts each from zero, so its context is at most 35 characters. The dashed line is the perplexity
of the character frequencies alone: a model below it uses the context.

Perplexity is measured on the training text: it shows how well the text was memorised. Published figures are printed only
for the published text and size.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.program import program
from examples.lm.options import comparison_parser


@program("cells.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train every cell with both sampling methods and write the comparison."""
    parser = comparison_parser(
        __doc__,
        {"epochs": 160, "hidden": 128, "max_chars": 5000},
        out="cells",
        quick="500 characters, 24 units, 30 epochs, minibatches of 8 with 10 steps",
        small={"epochs": 30, "hidden": 24, "max_chars": 500},
        device=True,
    )
    parser.add_argument("--corpus", default="default", metavar="FILE|default|published", help="as for lyrics.py")
    options = parser.parse_args(arguments)
    from examples.experiments.cells import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
