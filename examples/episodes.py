"""Episodes one after the other in a sample: with resets= nothing is left over from the episode before.

    python examples/episodes.py --out out/episodes
    python examples/episodes.py --quick

The task: streams are made of episodes of 2 to 24 steps, one directly after the other, as in reinforcement learning or in packed
documents. At every step the net must name the first symbol of the current episode. The other symbols are of the same kind, so
only the place of the first one tells that it counts.

Four copies of a small net start from the same weights and are trained on the same streams:

- resets=: the layer is told where episodes start, and starts anew from its initial state there;
- padded, lengths=: each episode is a sample of its own, padded to the longest. This is the same computation, so the losses must
  be equal up to rounding, but the minibatch has more steps;
- starts in the input: no resets, but the symbols at which an episode starts are others. The net has to learn to forget;
- without starts: no resets and no marks. The state of the episode before is left over, and nothing says that it is out of date.

For a net without starts the best possible accuracy and the lowest possible loss can be computed, see streams/episodes.py.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.parser import experiment_parser
from examples.common.program import program


@program("episodes.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train the four nets, compute the best possible result without starts, and write the results."""
    parser = experiment_parser(__doc__, out="episodes", quick="150 updates")
    parser.add_argument("--cell", choices=("gru", "lstm"), default="gru", help="of the nets")
    options = parser.parse_args(arguments)
    from examples.experiments.episodes import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
