"""Replacing nn.GRU by FusedGRU in a classifier of sequences of different lengths: equal losses, and the times.

    python examples/dropin.py --out out/dropin
    python examples/dropin.py --quick

Three copies of a small model start from the same seed and are trained on the same minibatches: with torch.nn.GRU on a packed
sequence, with FusedGRU on the same packed sequence, and with FusedGRU on padded input with lengths=. Only the class changes:
Classifier(nn.GRU) becomes Classifier(FusedGRU).

The task: some of the tokens are markers, and the class is the last marker of the sequence. Padding is token 0, which is also
a marker, so a model that read the padding would often be wrong.

The three models are timed in turns on every minibatch, in rotating order, so that other load on the machine affects all of
them equally. On a CPU the default backend is torch's own RNN, so the ratio of the times is about 1.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("dropin.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train the three models and compare losses and times."""
    options = experiment_parser(__doc__, out="dropin", quick="120 updates").parse_args(arguments)
    from examples.experiments.dropin import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
