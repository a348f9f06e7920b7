"""The measurements of `examples/dropout_mlp.py`: the published run, and runs on few images."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from examples.common.argument_types import resolve_device
from examples.common.outcome import Experiment
from examples.mlp.data import Images, load_images
from examples.mlp.models import build
from examples.mlp.training import Curve, Plan, judge, train

DROP, KEEP = (0.2, 0.5), (0.0, 0.0)
WAYS = {"from scratch": DROP, "torch.nn": DROP, "fused": DROP, "no dropout": KEEP}

PUBLISHED = {"fashion": Plan(60_000, 5, 256), "digits": Plan(1437, 30, 64)}
SCARCE = {"fashion": Plan(1000, 150, 64, decay=True), "digits": Plan(200, 150, 64, decay=True)}
BANDS = {"fashion": "train 0.84 to 0.855, test 0.78 to 0.85", "digits": "test about 0.92"}
SEEDS = {"fashion": 3, "digits": 6}


def run(options: argparse.Namespace) -> None:
    """Run both parts and write the comparison."""
    images, data = load_images(options.data)
    experiment = Experiment("dropout_mlp", options, data)
    kind = "digits" if data.is_fallback else "fashion"
    images = images.to(resolve_device(options.device))
    plan, few = PUBLISHED[kind], SCARCE[kind]
    if options.quick and kind == "fashion":
        plan, few = replace(plan, images=3000), replace(few, epochs=20)
    band = BANDS[kind] if plan == PUBLISHED[kind] else f"none for {plan.images:,} images"
    published = run_published(images, plan, options)
    scarce, fitted = run_scarce(images, few, options, 2 if options.quick else SEEDS[kind])
    ends = {way: summary(scarce[way], fitted[way]) for way in scarce}
    results = {
        "published": {
            way: {"train": c.train[-1], "test": c.test[-1], "test by epoch": c.test} for way, c in published.items()
        },
        "gap between scratch and fused": gap(published["from scratch"], published["fused"]),
        "images": {"published": plan.images, "few": few.images},
        "few images": ends,
        "few images by epoch": {
            way: {"test": [c.test for c in curves], "test_loss": [c.test_loss for c in curves]}
            for way, curves in scarce.items()
        },
        "gains": [one.test[-1] - other.test[-1] for one, other in zip(*scarce.values(), strict=True)],
    }
    titles = (f"{plan.images:,} images", f"{few.images:,} images")
    experiment.finish(
        results=results,
        table=[
            *({"images": titles[0], "way": way, **c, "band": band} for way, c in short(published).items()),
            *({"images": titles[1], "way": way, "train": c["fitted"], "test": c["test"]} for way, c in ends.items()),
        ],
        conclusion=conclude(results, plan, few, band),
        packages=("scikit-learn",),
    )


def run_published(images: Images, plan: Plan, options: argparse.Namespace) -> dict[str, Curve]:
    """Train the three implementations, and one without dropout, from the same weights in the same order."""
    some = images.some(plan.images, options.seed)
    fused = build("fused", images.train.shape[1], DROP, options.backend, options.seed).to(images.train.device)
    fused.train()(images.train[:1])  # fail now, not after minutes, if the backend is unavailable
    curves = {}
    for way, drop in WAYS.items():
        kind = "torch.nn" if way == "no dropout" else way
        model = build(kind, images.train.shape[1], drop, options.backend, options.seed).to(images.train.device)
        curves[way] = train(model, some, options.seed, plan, way)
    return curves


def run_scarce(
    images: Images, plan: Plan, options: argparse.Namespace, seeds: int
) -> tuple[dict[str, list[Curve]], dict[str, list[float]]]:
    """Train on few images with and without dropout; return the curves, and the final accuracy on the training images."""
    curves: dict[str, list[Curve]] = {"dropout": [], "no dropout": []}
    fitted: dict[str, list[float]] = {"dropout": [], "no dropout": []}
    for seed in range(options.seed, options.seed + seeds):
        few = images.some(plan.images, seed)
        for way, drop in (("dropout", DROP), ("no dropout", KEEP)):
            model = build("torch.nn", images.train.shape[1], drop, options.backend, seed).to(images.train.device)
            curves[way].append(train(model, few, seed, plan, f"{plan.images} images, {way}, seed {seed}"))
            fitted[way].append(judge(model, few.train, few.train_labels)[0])
    return curves, fitted


def short(published: dict[str, Curve]) -> dict[str, dict[str, float]]:
    """Return the last epoch's accuracies."""
    return {way: {"train": curve.train[-1], "test": curve.test[-1]} for way, curve in published.items()}


def summary(curves: Sequence[Curve], fitted: Sequence[float]) -> dict[str, float]:
    """Return means over the seeds of the last epoch's accuracies and test loss."""
    return {
        "fitted": mean(fitted),
        "test": mean(curve.test[-1] for curve in curves),
        "test loss": mean(curve.test_loss[-1] for curve in curves),
    }


def gap(one: Curve, other: Curve) -> float:
    """Return the largest relative difference of two runs' test losses over all epochs."""
    return max(abs(a - b) / a for a, b in zip(one.test_loss, other.test_loss, strict=True))


def conclude(results: dict[str, Any], plan: Plan, few: Plan, band: str) -> str:
    """Summarise the results in a paragraph."""
    published, gains = results["published"], results["gains"]
    dropped, kept = results["few images"].values()
    better = sum(gain > 0 for gain in gains)
    change = 100 * (published["torch.nn"]["test"] - published["no dropout"]["test"])
    return (
        f"On {plan.images:,} images, after {plan.epochs} epochs, test accuracy is {published['from scratch']['test']:.3f} "
        f"from scratch, {published['fused']['test']:.3f} fused and {published['torch.nn']['test']:.3f} with torch.nn "
        f"(expected: {band}), and {published['no dropout']['test']:.3f} without dropout: dropout changes it by "
        f"{change:+.1f} points (accuracy while training: {published['torch.nn']['train']:.3f} with dropout, "
        f"{published['no dropout']['train']:.3f} without). The test losses of scratch "
        f"and fused differ by {results['gap between scratch and fused']:.1e} at most. On {few.images:,} images, after "
        f"{few.epochs} epochs, the net without dropout has an accuracy of {kept['fitted']:.1%} on them, {kept['test']:.1%} on the "
        f"test images, and a test loss of {kept['test loss']:.3f}; with dropout these are {dropped['fitted']:.1%}, "
        f"{dropped['test']:.1%} and {dropped['test loss']:.3f}: better on {better} of {len(gains)} seeds, "
        f"by {100 * mean(gains):+.1f} points on average."
    )
