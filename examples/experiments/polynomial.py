"""The measurements of `examples/polynomial.py`: three fits, and the choice of the degree."""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

import torch

from examples.common.outcome import Data, Experiment
from examples.common.progress import progress
from examples.polynomial_fit.data import Samples, draw
from examples.polynomial_fit.fitting import Fit, fit_by_descent
from examples.polynomial_fit.selection import Choice, by_folds, by_validation_set

CASES = {"normal": (100, 3), "overfit": (2, 3), "underfit": (100, 1)}  # samples, degree
EPOCHS, SAMPLES, FITTED, FOLDS = 100, 100, 30, 10


def run(options: argparse.Namespace) -> None:
    """Fit the three cases, select the degree and write the results."""
    experiment = Experiment("polynomial", options, Data("generated: 1.2 x - 3.4 x^2 + 5.6 x^3 + 5 + N(0, 0.01^2)"))
    fits = fit_cases(options, 3 if options.quick else 11)
    choices = choose_degrees(options, 15 if options.quick else 100)
    place = next((k for k, fit in enumerate(fits["normal"]) if math.isfinite(fit.test[-1])), 0)
    cases = {case: {"samples": CASES[case][0], **summary(made, place)} for case, made in fits.items()}
    samples = dict(zip(("train", "test"), samples_of(options.seed + place), strict=True))
    chosen = {way: {rule: count(made, rule) for rule in ("lowest", "simplest")} for way, made in choices.items()}
    table = [{"case": case, **numbers, "published": PUBLISHED[case]} for case, numbers in cases.items()]
    experiment.finish(
        results={
            "cases": cases,
            "chosen": chosen,
            "first draw": {way: vars(made[0]) for way, made in choices.items()},
            "shown": {case: vars(made[place]) for case, made in fits.items()},
            "samples": {name: vars(drawn) for name, drawn in samples.items()},
        },
        table=table,
        conclusion=conclude(cases, chosen, options.seed + place),
    )


PUBLISHED = {"normal": "9.35e-5 / 1.06e-4", "overfit": "a curve only", "underfit": "249 / 168"}


def samples_of(seed: int) -> tuple[Samples, Samples]:
    """Draw 100 training and 100 test samples."""
    generator = torch.Generator().manual_seed(seed)
    return draw(SAMPLES, generator), draw(SAMPLES, generator)


def fit_cases(options: argparse.Namespace, seeds: int) -> dict[str, list[Fit]]:
    """Fit every case with `seeds` consecutive seeds from --seed on."""
    fits: dict[str, list[Fit]] = {case: [] for case in CASES}
    for seed in progress(range(options.seed, options.seed + seeds), "three fits", unit="seed"):
        train, test = samples_of(seed)
        for case, (samples, degree) in CASES.items():
            fits[case].append(fit_by_descent(train[:samples], test, degree, range(EPOCHS), seed))
    return fits


def choose_degrees(options: argparse.Namespace, draws: int) -> dict[str, list[Choice]]:
    """Select the degree on `draws` independent data sets, each with both methods."""
    generator = torch.Generator().manual_seed(options.seed)
    choices: dict[str, list[Choice]] = {"validation set": [], f"{FOLDS}-fold": []}
    for _ in progress(range(draws), "choosing the degree", unit="draw"):
        samples = draw(SAMPLES, generator)
        choices["validation set"].append(by_validation_set(samples[:FITTED], samples[FITTED:]))
        choices[f"{FOLDS}-fold"].append(by_folds(samples, FOLDS, generator))
    return choices


def summary(fits: Sequence[Fit], place: int) -> dict[str, float | str]:
    """Return the results of one seed, and medians over all seeds: outliers would dominate a mean."""
    first, tests = fits[place], [fit.test[-1] for fit in fits]
    return {
        "train": first.train[-1],
        "test": first.test[-1],
        "weights": " ".join(f"{weight:.4f}" for weight in first.weights),
        "bias": f"{first.bias:.4f}",
        "median train": median(fit.train[-1] for fit in fits),
        "median test": median(tests),
        "lowest test": min(tests),
        "highest test": max(tests),
        "diverged": tests.count(math.inf),
        "seeds": len(fits),
    }


def count(choices: Sequence[Choice], rule: str) -> dict[str, int]:
    """Count how often a rule selected each degree."""
    return {str(degree): n for degree, n in sorted(Counter(getattr(choice, rule) for choice in choices).items())}


def conclude(cases: dict[str, dict[str, float | str]], chosen: dict[str, dict[str, dict[str, int]]], seed: int) -> str:
    """Summarise the results in a paragraph."""
    normal, over, under = cases.values()
    ways = "; ".join(
        f"by {way} degree 3 was chosen in {rules['simplest'].get('3', 0)} of {sum(rules['simplest'].values())} draws "
        f"(in {rules['lowest'].get('3', 0)} by the lowest error alone)"
        for way, rules in chosen.items()
    )
    return (
        f"With 100 samples and the right features the errors reach {normal['train']:.3g} in training and "
        f"{normal['test']:.3g} in test (seed {seed}); the noise's variance is 1e-4. The weights are "
        f"{normal['weights']} with bias {normal['bias']}; descent diverged from {normal['diverged']} of {normal['seeds']} "
        f"seeds. With 2 samples the training error is {over['median train']:.3g} (median over the seeds) and the test error "
        f"{over['median test']:.3g} ({over['lowest test']:.3g} to {over['highest test']:.3g}); a straight line has large errors, "
        f"{under['median train']:.3g} and {under['median test']:.3g}. Selection of the degree: {ways}."
    )
