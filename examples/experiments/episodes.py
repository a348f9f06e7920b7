"""The measurements of `examples/episodes.py`: four nets on the same streams."""

import argparse
import statistics
from collections.abc import Mapping

import torch

from examples.common.outcome import Data, Experiment
from examples.streams.episodes import LONGEST, SHORTEST, SYMBOLS, best_guess
from examples.streams.recall import MARKED, PADDED, PLAIN, RESETS, Result, compare, grade

STEPS, BATCH = 64, 16


def run(options: argparse.Namespace) -> None:
    """Train the four nets, compute the best possible result without starts, and write the results."""
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
        conclusion=_conclude(found, ceiling, floor, apart),
    )


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
