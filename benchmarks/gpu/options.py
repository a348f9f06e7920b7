"""What the options beyond torch.nn cost: a training step of a layer with one of them beside one of the plain layer.

Output and gradients are held to the textbook reference in float64 first; what is wrong gets no time.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.parity import Result, judged, named
from benchmarks.gpu.waiting import wait
from benchmarks.measuring.cases import DTYPES
from benchmarks.measuring.peers import module
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import clock_for, paired, ratio_columns, time_columns

RESETS, NORM = "resets", "layer_norm"
HEADS = 4
P = 0.25  # probability of zoneout and recurrent dropout; it is no constant of the kernels
WITH: dict[str, dict[str, Any]] = {
    NORM: {NORM: True},
    RESETS: {},
    "zoneout": {"zoneout": P},
    "recurrent_dropout": {"recurrent_dropout": P},
    "heads": {"heads": HEADS},
}
"""Arguments of the module by option; resets are an argument of the call."""
CELLS, WIDTHS = ("lstm", "gru"), (256, 512)
SEED = 21
OFTEN = 0.05  # share of the steps before which a sample starts anew
CHECKED = 24  # steps at which results are compared
ROUNDS, WARMUP = 9, 2


@dataclass(frozen=True)
class Option:
    """A layer with an option, trained; T: steps that are timed."""

    name: str
    cell: str
    H: int
    dtype: str = "bf16"
    T: int = 256
    B: int = 32

    @property
    def key(self) -> str:
        """Its name in the record."""
        return f"option: {self.name} of {self.cell} {self.dtype} T{self.T} B{self.B} H{self.H}"


def every() -> list[Option]:
    """What is measured, the narrow layers first."""
    return [Option(name, cell, H) for H, name, cell in product(WIDTHS, WITH, CELLS)]


def net(option: Option, backend: str, device: torch.device, dtype: torch.dtype, *, plain: bool = False) -> nn.Module:
    """The module, in training mode; ``plain``: without the option."""
    torch.manual_seed(SEED)
    arguments = {} if plain else WITH[option.name]
    return module(option.cell, option.H, option.H, backend, device=device, dtype=dtype, **arguments)


def step(option: Option, of: nn.Module, device: torch.device, *, plain: bool = False) -> Callable[[], list[Result]]:
    """A training step as a call, on numbers that depend on `option` only: output, gradients of x and of the parameters."""
    draw, weight = torch.Generator().manual_seed(SEED), next(of.parameters())
    x, up = (torch.randn(option.T, option.B, option.H, generator=draw).to(device, weight.dtype) for _ in range(2))
    x.requires_grad_()
    given: dict[str, Tensor] = {}
    if option.name == RESETS and not plain:
        given = {RESETS: (torch.rand(option.T, option.B, generator=draw) < OFTEN).to(device)}
    names, parameters = zip(*of.named_parameters(), strict=True)

    def call() -> list[Result]:
        output, _ = of(x, **given)
        of_x, *gradients = torch.autograd.grad(output, [x, *parameters], up)
        found = [Result("output", output.detach(), 0), Result("gradient of x", of_x, 0, last_first=True)]
        return found + [Result(f"gradient of {n}", g) for n, g in zip(names, gradients, strict=True)]

    return call


def results(option: Option, of: nn.Module, device: torch.device) -> list[Result]:
    """Those of a step with the masks of a fixed seed, which are the same on every backend."""
    call = step(option, of, device)
    torch.manual_seed(SEED)
    return call()


def verdict(option: Option, device: torch.device) -> dict[str, Any]:
    """That on the kernels, against the reference in float64; the budget is the error of the reference in the same dtype."""
    short, dtype = replace(option, T=min(option.T, CHECKED)), DTYPES[option.dtype]
    ours, theirs = net(short, "triton", device, dtype), net(short, "reference", device, dtype)
    exact = net(short, "reference", device, torch.float64)
    for other in (theirs, exact):
        other.load_state_dict(ours.state_dict())
    truth, budget = results(short, exact, device), results(short, theirs, device)
    got = results(short, ours, device)
    wait(device)
    return judged(got, budget, truth, tf32=option.dtype == "fp32" and torch.backends.cudnn.allow_tf32)


def measure(option: Option, device_name: str, rounds: int) -> list[Row]:
    """One row: the verdict, the time of a step, and the plain layer's time over it."""
    device, dtype = torch.device(device_name), DTYPES[option.dtype]
    (row,) = condemned(option)
    try:
        row |= named(verdict(option, device))
    except Exception as failure:  # whatever it is, it is this option's, and the others go on
        return [{**row, "error": f"{type(failure).__name__}: {failure}"}]
    if row["verdict"] == "failed":
        return [row]
    calls = {
        "plain": step(option, net(option, "triton", device, dtype, plain=True), device, plain=True),
        "with": step(option, net(option, "triton", device, dtype), device),
    }
    samples = paired(calls, clock_for(device), rounds=rounds, warmup=min(rounds, WARMUP))
    plain = time_columns(samples["plain"])["median_s"]
    ratio = ratio_columns(samples["plain"], samples["with"])
    return [{**row, **time_columns(samples["with"]), "plain_s": plain, **ratio}]


def condemned(option: Option) -> list[Row]:
    """Its row if it gives no answer."""
    return [{"key": option.key, "peer": "option", **asdict(option), "seed": SEED, "verdict": "failed"}]
