"""The measurements of `examples/gradients.py`: depth, symmetry, time and clipping."""

import argparse
import math
from typing import NamedTuple

import torch

from examples.common.outcome import Data, Experiment
from examples.common.progress import progress
from examples.common.tables import Row
from examples.flow import clipping, layers, mean_field, symmetry
from examples.flow import time as through_time
from examples.flow.activations import ACTIVATIONS
from examples.flow.initial import VARIANCE, gain
from examples.flow.recurrent import CASES

LR, THRESHOLD = 0.1, 1.0
Pair = tuple[str, str]  # activation, initialisation


class Sizes(NamedTuple):
    """Sizes of the experiment."""

    width: int
    depth: int
    batch: int
    steps: int
    stride: int
    hidden: int
    updates: int


FULL = Sizes(width=256, depth=30, batch=64, steps=100, stride=2, hidden=64, updates=500)
QUICK = Sizes(width=96, depth=12, batch=16, steps=40, stride=4, hidden=32, updates=150)


def run(options: argparse.Namespace) -> None:
    """Measure gradients, compare them with theory and write the results."""
    sizes = QUICK if options.quick else FULL
    experiment = Experiment("gradients", options, Data("random networks on random inputs"))
    generator = torch.Generator().manual_seed(options.seed)

    flows: dict[Pair, layers.Flow] = {}
    theory: dict[Pair, torch.Tensor] = {}
    pairs = [(activation, initialisation) for activation in ACTIVATIONS for initialisation in VARIANCE]
    for pair in progress(pairs, "depth", unit="net"):
        flows[pair] = layers.measure(*pair, sizes.width, sizes.depth, sizes.batch, generator)
        gains = mean_field.gradient_gains(pair[0], gain(pair[1], sizes.width), sizes.depth)
        theory[pair] = torch.cat([gains.flip(0).cumprod(0).flip(0), torch.ones(1)])
    symmetric = {
        start: symmetry.train(start, sizes.updates, torch.Generator().manual_seed(options.seed))
        for start in progress(symmetry.STARTS, "symmetry", unit="start")
    }
    decays = {
        name: through_time.measure(
            case,
            options.backend,
            steps=sizes.steps,
            stride=sizes.stride,
            hidden=sizes.hidden,
            batch=16,
            seed=options.seed,
        )
        for name, case in progress(CASES.items(), "time", unit="cell")
    }
    unclipped, clipped = (
        clipping.train(threshold, options.backend, updates=sizes.updates, seed=options.seed, lr=LR)
        for threshold in progress((math.inf, THRESHOLD), "clipping", unit="run")
    )

    depth = {
        f"{activation}, {initialisation}": {
            "gradient": flow.gradient.sqrt(),
            "theory": theory[activation, initialisation].sqrt(),
            "singular": {
                "largest": flow.singular[:, 0],
                "median": flow.singular[:, sizes.width // 2],
                "least": flow.singular[:, -1],
            },
        }
        for (activation, initialisation), flow in flows.items()
    }
    training = {"unclipped": unclipped._asdict(), "clipped": clipped._asdict(), "lr": LR, "threshold": THRESHOLD}
    experiment.finish(
        results={
            "depth": depth,
            "edge": [
                mean_field.largest_singular_value(gain("xavier", sizes.width), distance)
                for distance in range(1, sizes.depth + 1)
            ],
            "symmetry": {start: result._asdict() for start, result in symmetric.items()},
            "time": {name: decay._asdict() for name, decay in decays.items()},
            "clipping": training,
        },
        table=_table(flows, theory, decays),
        conclusion=_conclude(sizes, flows, decays, symmetric, clipped, unclipped),
    )


def _table(
    flows: dict[Pair, layers.Flow], theory: dict[Pair, torch.Tensor], decays: dict[str, through_time.Decay]
) -> list[Row]:
    """Return the gradient norms farthest from the loss, measured and in theory."""
    through_layers = [
        {
            "gradient through": "layers",
            "case": ", ".join(pair),
            "log10 norm": flow.gradient[0].sqrt().log10().item(),
            "theory": theory[pair][0].sqrt().log10().item(),
            "bound": None,
        }
        for pair, flow in flows.items()
    ]
    return through_layers + [
        {
            "gradient through": "time",
            "case": name,
            "log10 norm": decay.measured[-1].item(),
            "theory": decay.theory[-1].item(),
            "bound": None if decay.bound is None else decay.bound[-1].item(),
        }
        for name, decay in decays.items()
    ]


def _conclude(
    sizes: Sizes,
    flows: dict[Pair, layers.Flow],
    decays: dict[str, through_time.Decay],
    symmetric: dict[str, symmetry.Symmetry],
    clipped: clipping.Training,
    unclipped: clipping.Training,
) -> str:
    end = {pair: flow.gradient[0].sqrt().item() for pair, flow in flows.items()}
    last = {name: 10 ** decay.measured[-1].item() for name, decay in decays.items()}
    orthogonal, xavier = (flows["linear", name].singular[0] for name in ("orthogonal", "xavier"))
    return (
        f"Through {sizes.depth} layers the gradient shrinks to {end['sigmoid', 'xavier']:.0e} with sigmoid and Xavier, keeps "
        f"{end['relu', 'he']:.2g} with ReLU and He, and vanishes to {end['relu', 'normal']:.0e} with N(0, 0.01^2). In a linear "
        f"network orthogonal weights keep every singular value between {orthogonal[-1]:.4f} and {orthogonal[0]:.4f}, where "
        f"Xavier's spread from {xavier[-1]:.0e} to {xavier[0]:.1f}. Weights that start equal stay equal: units differ by "
        f"{symmetric['constant'].spread:.0e}, and the error stops at {symmetric['constant'].loss[-1]:.3f}, against "
        f"{symmetric['random'].loss[-1]:.3f} from random weights. Through {sizes.steps} steps the plain RNN keeps "
        f"{last['RNN, as torch.nn starts it']:.0e} of its gradient, with W_hh 2 x orthogonal it multiplies it by "
        f"{last['RNN, W_hh 2 x orthogonal']:.0e}. Gated cells as torch.nn initialises them lose it nearly as fast (GRU "
        f"{last['GRU, as torch.nn starts it']:.0e}, LSTM {last['LSTM, as torch.nn starts it']:.0e}): their gates are half "
        f"open. With a gate bias of 4 they keep {last['GRU, gate bias 4']:.2g} and {last['LSTM, gate bias 4']:.2g}. With "
        f"exploding gradients the longest step was {max(unclipped.step):.0e} unclipped and {max(clipped.step):.3f} clipped, "
        f"which is lr {LR} times the threshold {THRESHOLD:g}; the loss ended at {unclipped.loss[-1]:.0e} and "
        f"{sum(clipped.loss[-20:]) / 20:.3f}."
    )
