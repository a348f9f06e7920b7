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

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.parser import experiment_parser
from examples.common.program import program
from examples.streams.episodes import LONGEST, SHORTEST, SYMBOLS, best_guess
from examples.streams.recall import MARKED, PADDED, PLAIN, RESETS, WAYS, Result, compare, grade

STEPS, BATCH = 64, 16


@program("episodes.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train the four nets, compute the best possible result without starts, and write the results."""
    parser = experiment_parser(__doc__, out="episodes", quick="150 updates")
    parser.add_argument("--cell", choices=("gru", "lstm"), default="gru", help="of the nets")
    options = parser.parse_args(arguments)
    source = f"generated: streams of {STEPS} steps, episodes of {SHORTEST} to {LONGEST} steps, {SYMBOLS} symbols"
    experiment = Experiment("episodes", options, Data(source))
    updates = 150 if options.quick else 600
    found, streams = compare(
        options.cell, options.backend, updates=updates, steps=STEPS, batch=BATCH, seed=options.seed
    )
    ceiling, floor, by_age = grade(best_guess(streams.x).log(), streams.labels, streams)
    apart = max(abs(a - b) for a, b in zip(found[RESETS].loss, found[PADDED].loss, strict=True))
    bounds = {"ceiling": ceiling, "floor": floor}
    experiment.finish(
        results={
            "ways": {way: {**result._asdict(), "learnt": result.learnt()} for way, result in found.items()},
            "without starts": {**bounds, "accuracy_by_age": by_age},
            "apart": apart,
        },
        table=[
            {
                "net": way,
                "accuracy": result.accuracy,
                "best possible": ceiling if way == PLAIN else 1.0,
                "loss": result.exam_loss,
                "lowest possible": floor if way == PLAIN else 0.0,
                "updates to a loss of 0.1": result.learnt(),
                "steps of a minibatch": round(result.steps),
                "ms per update": 1000 * statistics.median(result.seconds),
            }
            for way, result in found.items()
        ],
        figures={"episodes.png": _draw(found, floor, by_age)},
        conclusion=_conclude(found, ceiling, floor, apart),
    )


def _draw(found: Mapping[str, Result], floor: float, by_age: Sequence[float]) -> Figure:
    """Plot the losses over the updates, and the accuracy over the steps since the start of the episode."""
    figure = new_figure(13, 5)
    left, right = figure.subplots(1, 2)
    for number, way in enumerate(WAYS):
        wide = {"linewidth": 5, "alpha": 0.4} if way == RESETS else {"linewidth": 1.5}  # the padded curve lies on it
        left.semilogy(found[way].loss, label=way, color=f"C{number}", **wide)
        right.plot(found[way].accuracy_by_age, ".-", label=way, color=f"C{number}", **wide)
    left.axhline(floor, color="k", linestyle=":", label="lowest possible without starts")
    right.plot(by_age, "k:", label="best possible without starts")
    left.set_xlabel("update")
    left.set_ylabel("loss")
    left.set_title("training: the curves of resets= and of padded episodes coincide")
    right.set_xlabel("steps since the episode started")
    right.set_ylabel("accuracy on new streams")
    right.set_ylim(0, 1.05)
    right.set_title("how long the first symbol is remembered")
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.3)
    right.legend(fontsize="small")
    return figure


def _conclude(found: Mapping[str, Result], ceiling: float, floor: float, apart: float) -> str:
    reset, own, marked, plain = (found[way] for way in (RESETS, PADDED, MARKED, PLAIN))
    padding = 1 - reset.steps / own.steps
    right, forgotten = reset.accuracy_by_age[-1], marked.accuracy_by_age[-1]
    milliseconds = {way: f"{1000 * statistics.median(result.seconds):.1f} ms" for way, result in found.items()}
    return (
        f"With resets= the accuracy on new streams is {reset.accuracy:.3f}. Padded episodes train the same: over "
        f"{len(reset.loss)} updates the losses stay within {apart:.1e}, but a minibatch has {own.steps:.0f} steps instead of "
        f"{reset.steps:.0f}, {padding:.0%} of them padding. Without starts the accuracy is {plain.accuracy:.3f} and the loss "
        f"{plain.exam_loss:.3f}; the best possible are {ceiling:.3f} and {floor:.3f}. With starts in the input the net learns to "
        f"forget, and reaches {marked.accuracy:.3f}: its loss falls below 0.1 {_when(marked)}, with resets= {_when(reset)}; at the "
        f"last step of the longest episodes it is right in {forgotten:.0%} of the cases, with resets= in {right:.0%}. A minibatch "
        f"takes {milliseconds[RESETS]} with resets=, {milliseconds[PADDED]} padded and {milliseconds[PLAIN]} without resets "
        f"({torch.get_num_threads()} threads, CPU)."
    )


def _when(result: Result) -> str:
    update = result.learnt()
    return "never" if update is None else f"at update {update}"


if __name__ == "__main__":
    sys.exit(main())
