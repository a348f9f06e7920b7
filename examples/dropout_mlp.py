"""Dropout in a multilayer perceptron on Fashion-MNIST: from scratch, torch.nn and fused; when it helps and when not.

    python examples/dropout_mlp.py                 # Debian's package dataset-fashion-mnist, a download, or digits
    python examples/dropout_mlp.py --data DIR      # DIR has Fashion-MNIST's four idx files, gzipped or not

784-256-256-10 with ReLU; dropout with probability 0.2 after the first hidden layer and 0.5 after the second.

    published    all images, 5 epochs, three implementations with dropout, and one without. Scratch and fused drop the
                 same units and must give the same curve. On a CPU, unless --backend is given, torch.nn drops them too, but
                 it adds the bias inside the product, and training amplifies the difference in rounding. The net underfits,
                 so there is no overfitting for dropout to prevent.
    few images   1,000 training images, 150 epochs, with and without dropout, several seeds; the learning rate decays to
                 0, so that the final value does not depend on the last steps. The net overfits, and dropout helps.

Without Fashion-MNIST it runs on scikit-learn's digits (30 epochs; 200 images in the second part) and says so.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("dropout_mlp.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Run both parts and write the comparison."""
    quick = "3,000 Fashion images in place of 60,000 and 20 epochs on few, where it runs on them; 2 seeds on few"
    parser = experiment_parser(__doc__, out="dropout_mlp", quick=quick, device=True)
    parser.add_argument(
        "--data",
        default="auto",
        metavar="DIR|auto|digits",
        help="folder with Fashion-MNIST's files; auto: Debian's, else a download, else the digits",
    )
    options = parser.parse_args(arguments)
    from examples.experiments.dropout_mlp import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
