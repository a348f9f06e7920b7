"""The measurements of `examples/regularised.py`: four models from several seeds."""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from examples.common.outcome import Data, Experiment
from examples.lm.held_out import Curve, fit, texts

NEITHER, ZONEOUT, DROPOUT, BOTH = "neither", "zoneout", "recurrent dropout", "both"
RATES: dict[str, dict[str, Any]] = {
    NEITHER: {},
    ZONEOUT: {"zoneout": (0.1, 0.5)},
    DROPOUT: {"recurrent_dropout": 0.35},
    BOTH: {"zoneout": (0.05, 0.1), "recurrent_dropout": 0.2},
}
Curves = Mapping[str, Sequence[Curve]]  # of every way, one for each seed
Summary = Mapping[str, float]


def run(options: argparse.Namespace) -> None:
    """Train the models from several seeds and write the results."""
    ids = texts(options.songs)
    source = f"the default lyrics in UTF-8: {len(ids.learnt)} bytes to learn ({options.songs} songs), "
    source += f"{len(ids.validation)} for validation, {len(ids.test)} for the test, {ids.symbols} different ones"
    experiment = Experiment("regularised", options, Data(source))
    curves: dict[str, list[Curve]] = {way: [] for way in RATES if not (options.quick and way == BOTH)}
    for run in range(options.runs):
        for way in curves:
            curve = fit(
                options.cell, ids, epochs=options.epochs, hidden=options.hidden, seed=options.seed + run,
                name=f"{way}, {run + 1} of {options.runs}", backend=options.backend, **rates(way, options.cell),
            )  # fmt: skip
            curves[way].append(curve)
    means = {way: mean([curve.summary() for curve in found]) for way, found in curves.items()}
    experiment.finish(
        results={
            "curves": {way: [curve._asdict() for curve in found] for way, found in curves.items()},
            "runs": {way: [curve.summary() for curve in found] for way, found in curves.items()},
            "means": means,
        },
        table=[
            {
                "regularised by": way,
                "rates": " ".join(f"{name}={value}" for name, value in rates(way, options.cell).items()),
                "best epoch": found["best_epoch"],
                "lowest validation loss": found["best"],
                "test loss then": found["test"],
                "last validation loss": found["last"],
                "last loss on the learnt songs": found["learnt"],
                "ms per epoch": 1000 * found["seconds"],
            }
            for way, found in means.items()
        ],
        conclusion=_conclude(curves, means),
    )


def rates(way: str, cell: str) -> dict[str, Any]:
    """Return the options of the layer; of zoneout's pair a GRU takes the first."""
    given = dict(RATES[way])
    if cell == "gru" and "zoneout" in given:
        given["zoneout"] = given["zoneout"][0]
    return given


def mean(runs: Sequence[Summary]) -> dict[str, float]:
    """Return the mean of each value over the runs."""
    return {name: statistics.mean(run[name] for run in runs) for name in runs[0]}


def _conclude(curves: Curves, means: Mapping[str, Summary]) -> str:
    plain = means[NEITHER]
    others = [way for way in means if way != NEITHER]
    cost = {way: means[way]["seconds"] / plain["seconds"] for way in others}
    found = [
        f"{way} {means[way]['best']:.3f} (test {means[way]['test']:.3f}), at the end {means[way]['last']:.3f}, "
        f"{means[way]['gap']:.2f} above the learnt songs, in {cost[way]:.1f} times the time"
        for way in others
    ]
    wins = [
        sum(
            ours.summary()["test"] < theirs.summary()["test"]
            for ours, theirs in zip(curves[way], curves[NEITHER], strict=True)
        )
        for way in others
    ]
    better = ", ".join(f"{way} {won} of {len(curves[way])}" for way, won in zip(others, wins, strict=True))
    return (
        f"Without regularisation the lowest validation loss is {plain['best']:.3f} per byte, at epoch {plain['best_epoch']:.0f} "
        f"(test {plain['test']:.3f}); the last is {plain['last']:.3f}, {plain['gap']:.2f} above that of the learnt songs, "
        f"{plain['learnt']:.3f}. The lowest with {'; with '.join(found)}. Seeds with a lower test loss than without: {better}. "
        f"Of all, the lowest validation loss is with {min(means, key=lambda way: means[way]['best'])}. (Means of the "
        f"seeds; time of an epoch, {torch.get_num_threads()} threads, CPU.)"
    )
