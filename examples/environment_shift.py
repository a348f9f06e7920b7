"""Distribution shift between training and use: the loss of accuracy, its detection and its correction.

    python examples/environment_shift.py --out out/environment_shift

A classifier is trained on labelled samples of a source distribution and used on a target distribution, of which only inputs
are known.

    covariate shift    p(x) changes, p(y | x) does not. Source samples are weighted by p_target(x) / p_source(x),
                       estimated by a classifier that separates source from target inputs.
    label shift        p(y) changes, p(x | y) does not. They are weighted by p_target(y) / p_source(y), estimated from the
                       confusion matrix and the predictions on the target.
    concept shift      p(y | x) changes, p(x) does not. Only labels of the target show it, so no weighting can correct it.

Each world has exactly one shift; a fourth has none. The gap is the accuracy that the same classifier gains from training on
labelled target samples; a correction is judged by the share of the gap that it closes.
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

LEVEL = 0.01  # significance level: rate of false alarms without a shift


@program("environment_shift.py")
def main(arguments: Sequence[str] | None = None) -> None:
    """Study every world on several random draws."""
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
    """Return mean accuracies, what each correction gains, and how often each test detects a shift."""
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
    """Return a row of the printed table."""
    columns = (
        "on the source", "plain", "weighted by inputs", "weighted by labels", "trained on the target",
        "noticed by inputs", "noticed by predictions", "noticed by errors",
    )  # fmt: skip
    return {"world": name, **{column: numbers[column] for column in columns}}


def conclude(results: dict[str, dict[str, Any]]) -> str:
    """Summarise the results in a paragraph."""
    nothing, covariate, label, concept = results.values()
    return (
        f"Under covariate shift accuracy falls from {covariate['on the source']:.3f} to {covariate['plain']:.3f}; weighting "
        f"by inputs brings it to {covariate['weighted by inputs']:.3f}, {part(covariate, 'inputs')} of the gap to training "
        f"on the target ({covariate['trained on the target']:.3f}). Under label shift it falls to {label['plain']:.3f}; "
        f"weighting by labels brings it to {label['weighted by labels']:.3f}, {part(label, 'labels')} of the gap. Weighting for "
        f"the wrong kind of shift does not help: by labels under covariate shift it changes accuracy by "
        f"{covariate['won by labels']:+.3f}, by inputs under label shift by {label['won by inputs']:+.3f}. Under concept shift "
        f"{concept['gap']:.3f} of accuracy are lost, and the corrections change it by {concept['won by inputs']:+.3f} and "
        f"{concept['won by labels']:+.3f}, for lack of target labels. Tests without target labels detect it in "
        f"{concept['noticed by inputs']:.0%} (inputs) and {concept['noticed by predictions']:.0%} (predictions) of the draws, "
        f"and report a shift in {nothing['noticed by inputs']:.0%} and {nothing['noticed by predictions']:.0%} where there is "
        f"none; a test with {LABELLED} labels detects it in {concept['noticed by errors']:.0%}."
    )


def part(numbers: dict[str, Any], by: str) -> str:
    """Return the share of the gap that a correction closes, as a percentage."""
    return f"{numbers[f'won by {by}'] / numbers['gap']:.0%}"


if __name__ == "__main__":
    sys.exit(main())
