"""The measurements of `examples/bidirectional.py`: three tasks with one and two directions."""

import argparse
import math
from collections.abc import Mapping

import torch

from examples.common.outcome import Data, Experiment
from examples.common.tables import Row
from examples.direction.chain import Chain, noise
from examples.direction.labeller import Labeller, Result, Source, examine, train
from examples.direction.text import lyrics

CHAINS = {"label two steps ahead": Chain(symbols=8, stay=0.7, ahead=2), "language model of noise": noise(16)}
LYRICS = "language model of lyrics"
TASKS = (*CHAINS, LYRICS)
DIRECTIONS = {"one direction": False, "two directions": True}


def run(options: argparse.Namespace) -> None:
    """Train both nets on all tasks, evaluate them and write the results."""
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
