"""The measurements of `examples/weight_decay.py`: training with every lambda, in two ways."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from examples.common.outcome import Data, Experiment
from examples.common.progress import progress
from fusedrnn.reference.l2 import l2_penalty
from fusedrnn.reference.optim import sgd_

INPUTS, TRAIN, TEST, EPOCHS, LR = 200, 20, 100, 100, 0.003
LAMBDAS = (0.0, 3.0)
BANDS = {0.0: "||w|| 12.2 to 13.7, test about 86", 3.0: "||w|| 0.029 to 0.048, test about 0.010"}


@dataclass(frozen=True)
class Curve:
    """Losses and the norm of the weights after every epoch, and the weights after the last, (200,)."""

    train: list[float]
    test: list[float]
    norm: list[float]
    weights: Tensor


def run(options: argparse.Namespace) -> None:
    """Train with every lambda in both ways, from the same weights on the same samples, and compare."""
    experiment = Experiment("weight_decay", options, Data("generated: 0.05 + 0.01 sum(x) + N(0, 0.01^2)"))
    seeds = range(options.seed, options.seed + (1 if options.quick else 5))
    runs = {
        (lamda, way.__name__): [train(seed, lamda, way) for seed in progress(seeds, f"lambda {lamda:g}", unit="seed")]
        for lamda in LAMBDAS
        for way in (scratch, optimiser)
    }
    table = [summary(lamda, way, curves) for (lamda, way), curves in runs.items()]
    largest_gap = max(gap(runs, lamda) for lamda in LAMBDAS)
    experiment.finish(
        results={
            "runs": table,
            "largest gap between the ways": largest_gap,
            "curves": {
                way.__name__: {f"{lamda:g}": shown(runs[lamda, way.__name__][0]) for lamda in LAMBDAS}
                for way in (scratch, optimiser)
            },
        },
        table=table,
        conclusion=conclude(table, largest_gap),
    )


def scratch(w: Tensor, b: Tensor, lamda: float) -> Callable[[Tensor], None]:
    """Return a step that adds the penalty to the loss and updates by hand."""

    def step(loss: Tensor) -> None:
        w.grad = b.grad = None
        (loss + lamda * l2_penalty([w])).backward()
        sgd_([w, b], LR)

    return step


def optimiser(w: Tensor, b: Tensor, lamda: float) -> Callable[[Tensor], None]:
    """Return a step of torch's SGD with weight decay for the weights (not for the bias)."""
    sgd = torch.optim.SGD([{"params": [w], "weight_decay": lamda}, {"params": [b], "weight_decay": 0.0}], lr=LR)

    def step(loss: Tensor) -> None:
        sgd.zero_grad()
        loss.backward()
        sgd.step()

    return step


def train(seed: int, lamda: float, way: Callable[[Tensor, Tensor, float], Callable[[Tensor], None]]) -> Curve:
    """Train on squared loss / 2, one sample per step, 100 epochs; the seed sets samples, weights and order."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(TRAIN + TEST, INPUTS, generator=generator)
    y = 0.05 + 0.01 * x.sum(dim=1) + 0.01 * torch.randn(len(x), generator=generator)
    w = torch.randn(INPUTS, generator=generator).requires_grad_()
    b = torch.zeros((), requires_grad=True)
    step = way(w, b, lamda)
    measured: list[tuple[float, float, float]] = []
    for _ in range(EPOCHS):
        for i in torch.randperm(TRAIN, generator=generator).tolist():
            step((x[i] @ w + b - y[i]).square() / 2)
        with torch.no_grad():
            losses = (x @ w + b - y).square() / 2
            measured.append((losses[:TRAIN].mean().item(), losses[TRAIN:].mean().item(), w.norm().item()))
    on_train, on_test, norm = zip(*measured, strict=True)
    return Curve(list(on_train), list(on_test), list(norm), w.detach())


def summary(lamda: float, way: str, curves: Sequence[Curve]) -> dict[str, float | str]:
    """Return the results of the first seed, and the range of norm and test loss over all seeds."""
    first, norms, tests = curves[0], [c.norm[-1] for c in curves], [c.test[-1] for c in curves]
    return {
        "lambda": lamda,
        "way": way,
        "norm": first.norm[-1],
        "train": first.train[-1],
        "test": first.test[-1],
        "norms": f"{min(norms):.3g} to {max(norms):.3g}",
        "tests": f"{min(tests):.3g} to {max(tests):.3g}",
        "median test": median(tests),
        "band": BANDS[lamda],
    }


def gap(runs: dict[tuple[float, str], list[Curve]], lamda: float) -> float:
    """Return the largest difference of any weight between the two ways, over all seeds."""
    pairs: Iterator[tuple[Curve, Curve]] = zip(runs[lamda, "scratch"], runs[lamda, "optimiser"], strict=True)
    return max((one.weights - other.weights).abs().max().item() for one, other in pairs)


def shown(curve: Curve) -> dict[str, list[float]]:
    """Return what the figure shows of a run."""
    return {"train": curve.train, "test": curve.test, "norm": curve.norm}


def conclude(table: Sequence[dict[str, float | str]], largest_gap: float) -> str:
    """Summarise the results in a paragraph."""
    without, _, decayed, _ = table
    return (
        f"Without a penalty the training loss falls to {without['train']:.3g} and the test loss stays at "
        f"{without['test']:.3g}: ||w|| is {without['norm']:.3g}, and the true weights have norm 0.141. With lambda 3, "
        f"||w|| shrinks to {decayed['norm']:.3g}, the training loss ends at {decayed['train']:.3g} and the test loss at "
        f"{decayed['test']:.3g}. The penalty from scratch and the optimiser's weight decay give the same weights: they "
        f"differ by at most {largest_gap:.1e}."
    )
