"""A character language model: trained on song lyrics, it writes more of them.

    python examples/lyrics.py --out out/lyrics                          # train on the default lyrics
    python examples/lyrics.py --out out/lyrics --generate 分开           # generate text with the trained model
    python examples/lyrics.py --help

The net reads a text one character at a time and predicts the next one. It is trained by truncated backpropagation
through time: minibatches of 35 steps, clipped gradients, and the state carried from one minibatch to the next.
It is evaluated by perplexity on the training text: 1 means that the text is memorised, the size of the vocabulary that
nothing is learnt. It measures memorisation, not the quality of the songs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.program import program
from examples.lm.options import build_parser


@program("lyrics.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Train or generate; return the exit code: 0, 2 for a user's error, 130 after Ctrl-C."""
    options = build_parser(__doc__).parse_args(arguments)
    from examples.experiments.lyrics import run  # after the command line is read: torch takes seconds to import

    return run(options, arguments)


if __name__ == "__main__":
    sys.exit(main())
