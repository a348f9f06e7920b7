"""Where two directions are right, and where they cheat: labels that need the future, and a language model that reads it.

    python examples/bidirectional.py --out out/bidirectional
    python examples/bidirectional.py --quick

The right place: every step of a sequence is labelled with the symbol two steps on. The symbols form a Markov chain whose
matrix is known, so the best accuracy from the past alone can be computed. A net with one direction reaches that ceiling and
cannot pass it; a second direction, which reads from the end, has seen the answer, and the task allows that.

The wrong place: a language model must give each character before it is read. With a second direction it reads the
character that it is asked for. The text here is noise, independent characters, all alike: no honest model can have a
perplexity below their number. The bidirectional one shows about 1 on text that it has never seen. That is the leak: change
only what comes later and its scores change; end the text where a writer would stand, and it knows nothing. This is why
the bidirectional models of the lyrics with a perplexity of 1.000 are no language models.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.parser import BACKENDS, experiment_parser
from examples.common.program import program
from examples.common.tables import Row
from examples.direction.chain import Chain, noise
from examples.direction.labeller import Labeller, Result, examine, train

TASKS = {"label two steps ahead": Chain(symbols=8, stay=0.7, ahead=2), "language model of noise": noise(16)}
DIRECTIONS = {"one direction": False, "two directions": True}


@program("bidirectional.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train both nets on both tasks, examine, draw and conclude."""
    parser = experiment_parser(__doc__, out="bidirectional", quick="150 updates", backends=BACKENDS)
    parser.add_argument("--cell", choices=("gru", "lstm"), default="gru", help="of the nets")
    options = parser.parse_args(arguments)
    updates = 150 if options.quick else 1000
    source = (
        f"generated: a Markov chain of {TASKS['label two steps ahead'].symbols} symbols, and independent characters"
    )
    experiment = Experiment("bidirectional", options, Data(source))
    results: dict[str, dict[str, Result]] = {}
    for task, chain in TASKS.items():
        results[task] = {}
        for name, bidirectional in DIRECTIONS.items():
            torch.manual_seed(options.seed)
            model = Labeller(options.cell, chain.symbols, 32, bidirectional=bidirectional, backend=options.backend)
            generator = torch.Generator().manual_seed(options.seed)
            losses = train(
                model, chain, updates=updates, steps=20, batch=32, generator=generator, name=f"{task}, {name}"
            )
            results[task][name] = examine(model, chain, losses, steps=20, batch=1000, generator=generator)
    experiment.finish(
        results={
            task: {
                "ceiling": chain.ceiling(),
                "floor": chain.floor(),
                **{name: result._asdict() for name, result in results[task].items()},
            }
            for task, chain in TASKS.items()
        },
        table=[_row(task, name, result) for task in TASKS for name, result in results[task].items()],
        figures={"bidirectional.png": _draw(results)},
        conclusion=_conclude(results),
    )


def _row(task: str, name: str, result: Result) -> Row:
    return {
        "task": task,
        "net": name,
        "accuracy": result.accuracy,
        "best from the past": TASKS[task].ceiling(),
        "perplexity": result.perplexity,
        "least from the past": TASKS[task].floor(),
        "at the text's end: accuracy": result.last_accuracy,
        "perplexity there": result.last_perplexity,
    }


def _draw(results: Mapping[str, Mapping[str, Result]]) -> Figure:
    """Draw the perplexity while training, beside the least that the past allows."""
    figure = new_figure(12, 5)
    for axes, (task, chain) in zip(figure.subplots(1, 2), TASKS.items(), strict=True):
        for name, result in results[task].items():
            axes.semilogy(torch.tensor(result.loss).exp(), label=f"{name}: accuracy {result.accuracy:.3f} at the end")
        label = f"least from the past alone (accuracy {chain.ceiling():.3f})"
        axes.axhline(chain.floor(), color="k", linestyle="--", linewidth=1, label=label)
        axes.set_title(task)
        axes.set_xlabel("update, each on new sequences")
        axes.set_ylabel("perplexity of the label")
        axes.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        axes.minorticks_off()
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="center right", fontsize="small")
    return figure


def _conclude(results: Mapping[str, Mapping[str, Result]]) -> str:
    (one, two), (honest, cheat) = (list(results[task].values()) for task in TASKS)
    ahead, leak = TASKS.values()
    return (
        f"Two steps ahead, the past allows an accuracy of {ahead.ceiling():.3f}: one direction reached {one.accuracy:.3f}, two "
        f"directions {two.accuracy:.3f}. On noise of {leak.symbols} characters no language model can have a perplexity below "
        f"{leak.floor():.3g}: one direction has {honest.perplexity:.2f}, two have {cheat.perplexity:.3f}, which is leakage, not "
        f"skill. When only later characters change, the scores of one direction change by {honest.reads_ahead:.2g}, those of two "
        f"by {cheat.reads_ahead:.2g}; and where the text ends, so that the character asked for is not in the input, the two "
        f"directions are right in {cheat.last_accuracy:.3f} of the cases (chance: {1 / leak.symbols:.3f}) with a perplexity of "
        f"{cheat.last_perplexity:.3g}."
    )


if __name__ == "__main__":
    sys.exit(main())
