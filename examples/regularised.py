"""Regularised recurrent layers: zoneout and recurrent dropout against overfitting on few songs.

    python examples/regularised.py --out out/regularised
    python examples/regularised.py --quick

A language model is trained on twelve songs and evaluated after every epoch on twelve others. Without regularisation the
validation loss soon rises, while the loss on the songs that are learnt goes on falling: the net learns them by heart. Two
options of the layers act on the recurrence itself, in training only:

- zoneout=(p_h, p_c): every unit keeps its h, or its c, of the step before with this probability (Krueger et al., 2017);
- recurrent_dropout=p: every element of the candidate that is written to the cell is dropped with this probability (Semeniuta
  et al., 2016).

The rates were chosen on the validation songs. Each model is also tested on twelve more songs, with the weights of the epoch that
has the lowest validation loss.

The text is read as bytes of UTF-8, three to a Chinese character: of the characters of twelve songs nearly half occur once, and a
model of whole characters learns little that holds for other songs, with these options or without.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.argument_types import positive
from examples.common.parser import experiment_parser
from examples.common.program import program


@program("regularised.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models from several seeds and write the results."""
    parser = experiment_parser(
        __doc__, out="regularised", quick="16 epochs, one seed, not both at once", small={"epochs": 16, "runs": 1}
    )
    add = parser.add_argument
    add("--cell", choices=("lstm", "gru"), default="lstm", help="of the models; a GRU has no c, and p_c is left out")
    add("--epochs", type=positive(int), default=40, help="passes over the text")
    add("--hidden", type=positive(int), default=64, help="units of the layer")
    add("--songs", type=positive(int), default=12, help="songs to learn, up to 24")
    add("--runs", type=positive(int), default=3, help="number of seeds: --seed and those after it")
    options = parser.parse_args(arguments)
    from examples.experiments.regularised import run  # after the command line is read: torch takes seconds to import

    run(options)


if __name__ == "__main__":
    sys.exit(main())
