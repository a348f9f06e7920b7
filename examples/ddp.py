"""Train a GRU tagger data-parallel: every process computes a part of each batch, and all keep the same weights.

    torchrun --nproc-per-node 2 examples/ddp.py --steps 20

Uses gloo on CPUs, NCCL on GPUs. The task is synthetic: predict at every step whether the bits up to it have odd parity.
`--save FILE` writes the weights of rank 0.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.argument_types import positive, seed
from examples.common.errors import UserError
from examples.common.parser import HelpFormatter, Parser
from examples.common.program import program

COMMAND = "torchrun --nproc-per-node 2 examples/ddp.py"


@program("ddp.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, then train in the process group of torchrun."""
    parser = Parser(
        prog="ddp.py", description=(__doc__ or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--steps", type=positive(int), default=20, help="updates of the weights")
    parser.add_argument("--hidden", type=positive(int), default=16, help="units of the GRU")
    parser.add_argument("--seed", type=seed, default=0, help="random seed")
    parser.add_argument("--save", type=Path, metavar="FILE", help="file for the weights")
    options = parser.parse_args(arguments)
    if "RANK" not in os.environ:
        raise UserError(f"expected to be started by torchrun, got no RANK in the environment: {COMMAND}")
    from examples.experiments.ddp import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
