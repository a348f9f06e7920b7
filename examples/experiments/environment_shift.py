"""The measurements of `examples/environment_shift.py`: every world on several draws."""

import argparse
from collections.abc import Sequence
from statistics import mean, pstdev
from typing import Any

import numpy as np

from examples.common.outcome import Data, Experiment
from examples.common.progress import progress
from examples.shift.study import LABELLED, N, Study, study
from examples.shift.worlds import WORLDS

ACCURACIES = {  # names of the results, and of the fields of a study
    "on the source": "at_home",
    "plain": "plain",
    "weighted by inputs": "by_inputs",
    "weighted by labels": "by_labels",
    "trained on the target": "own",
}
DOTS = 200  # samples of each world in the figure
LEVEL = 0.01  # significance level: rate of false alarms without a shift


def run(options: argparse.Namespace) -> None:
    """Study every world on several random draws."""
    experiment = Experiment("environment_shift", options, Data(f"generated: Gaussian inputs, {N:,} samples a set"))
    studies = study_worlds(options, 5 if options.quick else 40)
    results = {name: summary(name, made) for name, made in studies.items()}
    experiment.finish(
        results={
            "worlds": results,
            "shown": {name: shown(name, made[0], options.seed) for name, made in studies.items()},
        },
        table=[row(name, numbers) for name, numbers in results.items()],
        conclusion=conclude(results),
        packages=("scikit-learn", "scipy"),
    )


def study_worlds(options: argparse.Namespace, draws: int) -> dict[str, list[Study]]:
    """Draw and study each world `draws` times."""
    return {
        name: [study(world, seed) for seed in progress(range(options.seed, options.seed + draws), name, unit="draw")]
        for name, world in WORLDS.items()
    }


def summary(name: str, studies: Sequence[Study]) -> dict[str, Any]:
    """Return mean accuracies, what each correction gains, and how often each test detects a shift."""
    accuracies = {name: [getattr(one, field) for one in studies] for name, field in ACCURACIES.items()}
    means = {name: mean(values) for name, values in accuracies.items()}
    plain = means["plain"]
    noticed = {
        f"noticed by {what}": mean(getattr(one, f"p_{what}") < LEVEL for one in studies)
        for what in ("inputs", "predictions", "errors")
    }
    return {
        **means,
        "standard deviations": {name: pstdev(values) for name, values in accuracies.items()},
        "gap": means["trained on the target"] - plain,
        "won by inputs": means["weighted by inputs"] - plain,
        "won by labels": means["weighted by labels"] - plain,
        **noticed,
        "label weights": np.mean([one.label_weights for one in studies], axis=0).tolist(),
        "true label weights": WORLDS[name].true_label_ratio.tolist(),
        "mean error of the log input weights": mean(one.input_weight_error for one in studies),
    }


def shown(name: str, first: Study, seed: int) -> dict[str, Any]:
    """Return some samples of a world, and the weights of the classifiers of its first draw."""
    draw = np.random.default_rng(seed)
    samples = {"source": WORLDS[name].source(draw, DOTS), "target": WORLDS[name].target(draw, DOTS)}
    return {**{place: vars(some) for place, some in samples.items()}, "lines": first.lines}


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
