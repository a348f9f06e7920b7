"""Why six recurrent layers do not train: the language model with 1, 2 and 6 layers, and the signal and gradient in each.

    python examples/deep.py --out out/deep
    python examples/deep.py --quick

The published model initialises its weights from N(0, 0.01^2). A layer of H units then scales its input, and the gradient on
the way back, by about 0.01 sqrt(H): with six layers almost no signal reaches the top and almost no gradient the bottom. Only
the bias of the output layer still trains, because its gradient passes through no recurrent layer, and it can only learn the
character frequencies. The perplexity falls to that of the frequencies and stays there for a long time. With recurrent weights
of variance 1 / H (Glorot) signal and gradient pass through the same six layers, and they train.

The text is shorter and the net narrower than in lyrics.py (use --layers 6 there for full size); all other settings are
the published ones.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.program import program
from examples.lm.options import comparison_parser


@program("deep.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure signal and gradient before training, train, and write the results."""
    options = comparison_parser(
        __doc__,
        {"epochs": 100, "hidden": 48, "max_chars": 1200},
        out="deep",
        quick="the plain RNN, 24 units, 45 epochs, 500 characters",
        small={"epochs": 45, "hidden": 24, "max_chars": 500},
    ).parse_args(arguments)
    from examples.experiments.deep import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
