"""Environment shift: the world changes between training and use: what is lost, what can be noticed, what won back.

    python examples/environment_shift.py --out out/environment_shift

A classifier is trained on labelled samples of a source and used on a target, of which only the inputs are known.

    covariate shift    p(x) changes, p(y | x) does not. Weight source samples by p_target(x) / p_source(x), found by a
                       classifier that tells the two apart.
    label shift        p(y) changes, p(x | y) does not. Weight them by p_target(y) / p_source(y), found from the confusion
                       matrix and from what the classifier says of the target.
    concept shift      p(y | x) changes, p(x) does not. No weighting can know of it: only labels of the target show it.

Each world is made to have one shift only; a fourth has none. The gap is what the same kind of classifier gains by being
trained on labelled target samples; a correction is judged by the part of the gap that it closes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.outcome import Data, Experiment
from examples.common.parser import experiment_parser
from examples.common.program import program
from examples.common.progress import progress
from examples.shift.plots import plot_accuracies, plot_worlds
from examples.shift.study import LABELLED, N, Study, study
from examples.shift.worlds import WORLDS

LEVEL = 0.01  # a test that says "shifted" is wrong this often where nothing has shifted


@program("environment_shift.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Study every world in several draws."""
    parser = experiment_parser(
        __doc__, fused=False, out="environment_shift", quick="5 draws of each world in place of 40"
    )
    options = parser.parse_args(arguments)
    experiment = Experiment("environment_shift", options, Data(f"generated: Gaussian inputs, {N:,} samples a set"))
    studies = run(options, 5 if options.quick else 40)
    results = {name: summary(name, made) for name, made in studies.items()}
    experiment.finish(
        results=results,
        table=[row(name, numbers) for name, numbers in results.items()],
        figures={
            "accuracies.png": plot_accuracies(studies),
            "worlds.png": plot_worlds(studies, options.seed),
        },
        conclusion=conclude(results),
        packages=("scikit-learn", "scipy"),
    )


def run(options: argparse.Namespace, draws: int) -> dict[str, list[Study]]:
    """Draw and study each world `draws` times."""
    return {
        name: [study(world, seed) for seed in progress(range(options.seed, options.seed + draws), name, unit="draw")]
        for name, world in WORLDS.items()
    }


def summary(name: str, studies: Sequence[Study]) -> dict[str, Any]:
    """Return mean accuracies, the share of the gap that each correction closes, and how often each test says "shifted"."""
    at_home, plain, by_inputs, by_labels, own = (
        mean(getattr(one, field) for one in studies) for field in ("at_home", "plain", "by_inputs", "by_labels", "own")
    )
    noticed = {
        f"noticed by {what}": mean(getattr(one, f"p_{what}") < LEVEL for one in studies)
        for what in ("inputs", "predictions", "errors")
    }
    return {
        "on the source": at_home,
        "plain": plain,
        "weighted by inputs": by_inputs,
        "weighted by labels": by_labels,
        "trained on the target": own,
        "gap": own - plain,
        "won by inputs": by_inputs - plain,
        "won by labels": by_labels - plain,
        **noticed,
        "label weights": np.mean([one.label_weights for one in studies], axis=0).tolist(),
        "true label weights": WORLDS[name].true_label_ratio.tolist(),
        "mean error of the log input weights": mean(one.input_weight_error for one in studies),
    }


def row(name: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """Pick the columns of the printed table."""
    columns = (
        "on the source", "plain", "weighted by inputs", "weighted by labels", "trained on the target",
        "noticed by inputs", "noticed by predictions", "noticed by errors",
    )  # fmt: skip
    return {"world": name, **{column: numbers[column] for column in columns}}


def conclude(results: dict[str, dict[str, Any]]) -> str:
    """Say in a paragraph what the numbers show."""
    nothing, covariate, label, concept = results.values()
    return (
        f"Under covariate shift accuracy falls from {covariate['on the source']:.3f} to {covariate['plain']:.3f}; weighting "
        f"by inputs brings it to {covariate['weighted by inputs']:.3f}, {part(covariate, 'inputs')} of the gap to training "
        f"on the target ({covariate['trained on the target']:.3f}). Under label shift it falls to {label['plain']:.3f}; "
        f"weighting by labels brings {label['weighted by labels']:.3f}, {part(label, 'labels')} of the gap. Weighting for "
        f"the wrong kind of shift does not: labels under covariate shift change accuracy by "
        f"{covariate['won by labels']:+.3f}, inputs under label shift by {label['won by inputs']:+.3f}. Under concept shift "
        f"{concept['gap']:.3f} of accuracy are lost, and the corrections change it by {concept['won by inputs']:+.3f} and "
        f"{concept['won by labels']:+.3f}: they cannot know. Tests without labels of the target notice it in "
        f"{concept['noticed by inputs']:.0%} (inputs) and {concept['noticed by predictions']:.0%} (predictions) of the draws, "
        f"and claim a shift in {nothing['noticed by inputs']:.0%} and {nothing['noticed by predictions']:.0%} where there is "
        f"none; {LABELLED} labels show it in {concept['noticed by errors']:.0%}."
    )


def part(numbers: dict[str, Any], by: str) -> str:
    """Return the share of the gap that a correction closes, in per cent."""
    return f"{numbers[f'won by {by}'] / numbers['gap']:.0%}"


if __name__ == "__main__":
    sys.exit(main())
