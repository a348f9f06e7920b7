"""Bidirectional networks: useful for labels that depend on later input, misleading as language models.

    python examples/bidirectional.py --out out/bidirectional
    python examples/bidirectional.py --quick

Useful: every step of a sequence is labelled with the symbol two steps later. The symbols form a Markov chain with a known
transition matrix, so the best accuracy from the past alone can be computed. A net with one direction reaches that accuracy
and cannot exceed it. A net with two directions also reads the sequence from its end, label included, as the task allows.

Misleading: a language model must predict each character before reading it. A second direction reads the character to be
predicted, so the perplexity falls towards 1. This label leakage is shown on two texts. On noise, independent characters with
equal probabilities, no causal model can have a perplexity below the number of characters; the bidirectional one has about 1
on new text. On song lyrics the nets are trained on three quarters of the text and evaluated on the rest. Two measurements
show the leakage on either text: the scores of a step change when only later characters change, and at the end of a text,
where a generator would have to continue, the bidirectional net cannot predict. A bidirectional model of the lyrics with a
perplexity of 1.000 is therefore not a language model.
"""

import math
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
from examples.common.tables import Row
from examples.direction.chain import Chain, noise
from examples.direction.labeller import Labeller, Result, Source, examine, train
from examples.direction.text import lyrics

CHAINS = {"label two steps ahead": Chain(symbols=8, stay=0.7, ahead=2), "language model of noise": noise(16)}
LYRICS = "language model of lyrics"
TASKS = (*CHAINS, LYRICS)
DIRECTIONS = {"one direction": False, "two directions": True}


@program("bidirectional.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Train both nets on all tasks, evaluate them and write the results."""
    parser = experiment_parser(__doc__, out="bidirectional", quick="150 updates")
    parser.add_argument("--cell", choices=("gru", "lstm"), default="gru", help="of the nets")
    options = parser.parse_args(arguments)
    updates = 150 if options.quick else 1000
    learnt, unseen = lyrics()
    source = (
        f"generated: a Markov chain of {CHAINS[TASKS[0]].symbols} symbols, and independent characters; and our lyrics, "
        f"{len(learnt.ids)} characters to learn and {len(unseen.ids)} others, {unseen.symbols} different ones"
    )
    experiment = Experiment("bidirectional", options, Data(source))
    sources: dict[str, tuple[Source, Source]] = {task: (chain, chain) for task, chain in CHAINS.items()}
    sources[LYRICS] = learnt, unseen
    results: dict[str, dict[str, Result]] = {}
    for task, (to_learn, to_examine) in sources.items():
        results[task] = {}
        for name, bidirectional in DIRECTIONS.items():
            torch.manual_seed(options.seed)
            model = Labeller(options.cell, to_learn.symbols, 32, bidirectional=bidirectional, backend=options.backend)
            generator = torch.Generator().manual_seed(options.seed)
            losses = train(
                model, to_learn, updates=updates, steps=20, batch=32, generator=generator, name=f"{task}, {name}"
            )
            results[task][name] = examine(model, to_examine, losses, steps=20, batch=1000, generator=generator)
    experiment.finish(
        results={
            task: {**_bounds(task), **{name: result._asdict() for name, result in found.items()}}
            for task, found in results.items()
        },
        table=[_row(task, name, result) for task in TASKS for name, result in results[task].items()],
        figures={"bidirectional.png": _draw(results)},
        conclusion=_conclude(results),
    )


def _bounds(task: str) -> dict[str, float | None]:
    """Return the best accuracy and lowest perplexity possible from the past alone; None for lyrics, where they are unknown."""
    chain = CHAINS.get(task)
    return {"ceiling": chain and chain.ceiling(), "floor": chain and chain.floor()}


def _row(task: str, name: str, result: Result) -> Row:
    bounds = _bounds(task)
    return {
        "task": task,
        "net": name,
        "accuracy": result.accuracy,
        "best from the past": bounds["ceiling"],
        "perplexity": result.perplexity,
        "lowest from the past": bounds["floor"],
        "accuracy at the last step": result.last_accuracy,
        "perplexity at the last step": result.last_perplexity,
    }


def _draw(results: Mapping[str, Mapping[str, Result]]) -> Figure:
    """Plot training perplexity, with the lowest possible from the past alone where it is known."""
    figure = new_figure(16, 5)
    for axes, task in zip(figure.subplots(1, 3), TASKS, strict=True):
        for name, result in results[task].items():
            end = f"accuracy {result.accuracy:.3f} at the end"
            if task == LYRICS:
                end = f"{_plain(result.perplexity)} on other songs at the end"
            axes.semilogy(torch.tensor(result.loss).exp(), label=f"{name}: {end}")
        ticks = [1, 10, 100, 1000] if task == LYRICS else [1, 2, 4, 8, 16]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        if chain := CHAINS.get(task):
            label = f"lowest from the past alone (accuracy {chain.ceiling():.3f})"
            axes.axhline(chain.floor(), color="k", linestyle="--", linewidth=1, label=label)
        axes.set_title(task)
        axes.set_xlabel("update, each on windows of the songs" if task == LYRICS else "update, each on new sequences")
        axes.set_ylabel("perplexity of the label")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="upper right" if task == LYRICS else "center right", fontsize="small")
    return figure


def _conclude(results: Mapping[str, Mapping[str, Result]]) -> str:
    (one, two), (honest, cheat), (writer, reader) = (list(results[task].values()) for task in TASKS)
    ahead, leak = CHAINS.values()
    return (
        f"Two steps ahead, the past allows an accuracy of {ahead.ceiling():.3f}: one direction reached {one.accuracy:.3f}, two "
        f"directions {two.accuracy:.3f}. On noise of {leak.symbols} characters no language model can have a perplexity below "
        f"{leak.floor():.3g}: one direction has {honest.perplexity:.2f}, two have {cheat.perplexity:.3f}, which is leakage, not "
        f"skill. When only later characters change, the scores of one direction change by {honest.reads_ahead:.2g}, those of two "
        f"by {cheat.reads_ahead:.2g}. At the end of a text, where the next character is not in the input, two directions have "
        f"an accuracy of {cheat.last_accuracy:.3f} (chance: {1 / leak.symbols:.3f}) and a perplexity of "
        f"{cheat.last_perplexity:.3g}. On the training songs the perplexity is {_plain(math.exp(writer.loss[-1]))} with one "
        f"direction and {math.exp(reader.loss[-1]):.3f} with two; on other songs it is {_plain(writer.perplexity)} and "
        f"{_plain(reader.perplexity)}, and {_plain(reader.last_perplexity)} with two directions at the end of a text, where a "
        "generator would continue."
    )


def _plain(perplexity: float) -> str:
    """Format with three significant digits, or as a whole number from 100 on."""
    return f"{perplexity:,.0f}" if perplexity >= 100 else f"{perplexity:.3g}"


if __name__ == "__main__":
    sys.exit(main())
