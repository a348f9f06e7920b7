"""Whether a published model is the same with our modules, and after they are restored."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from fusedrnn import Replacements, replace_rnns, restore_rnns
from tests.published.exporting import EXPORTERS, export, run
from tests.published.model import Published

SAME_OUTPUT = 0.0
"""In inference on a CPU our modules call the functions that torch.nn's call, with the same arguments: no bit may differ."""
SAME_GRADIENT = 1e-9
"""In float64, relative. Ours differentiate some GRUs in another order (`loop_trains_faster` in fusedrnn/backends/rules.py), so
gradients agree to rounding only. In float32 that is 1e-4 here, torch's as well as ours (medaka): too near to a mistake."""
SAME_ONNX = 0.0
"""A restored model is exported as the same graph with the same weights."""
LIKE_TORCH = 1e-5
"""onnxruntime has kernels of its own; where outputs exceed 1, relative to the largest."""


@dataclass
class Outcome:
    """What was found of one model.

    Attributes:
        model: the model.
        replaced: name to change, from `replace_rnns`.
        output: largest difference of an output after `replace_rnns`.
        gradient: largest difference of a float64 gradient, relative to the largest gradient of its parameter.
        onnx: of each exporter, the largest difference of onnxruntime's output after `restore_rnns` from before
            `replace_rnns`, and from torch's output; None where the original model cannot be exported.
        failures: one line for each expectation that was not met.
    """

    model: Published
    replaced: dict[str, str] = field(default_factory=dict)
    output: float = float("nan")
    gradient: float = float("nan")
    onnx: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def expect(self, condition: bool, line: str) -> None:
        """Note `line` as a failure unless `condition`."""
        if not condition:
            self.failures.append(f"{self.model.wheel.package}: {line}")


def check(model: Published, archive: ZipFile) -> Outcome:
    """Run `model` before, with and after our modules, and export it before and after."""
    torch.manual_seed(0)
    inputs = [model.inputs(*size) for size in model.sizes]
    network = model.build(archive)
    names = list(network.state_dict())
    outputs, slopes = [infer(network, x) for x in inputs], gradients(network, inputs[0])
    files = exports(network, inputs[0])

    outcome = Outcome(model)
    report = replace_rnns(network)
    outcome.replaced = report.changed
    outcome.expect(report == Replacements(model.recurrent), f"expected {model.recurrent} replaced, got: {report}")
    outcome.expect(list(network.state_dict()) == names, "expected replace_rnns to keep the names of the state_dict")
    outcome.output = worst(largest(infer(network, x) - out) for x, out in zip(inputs, outputs, strict=True))
    outcome.expect(outcome.output <= SAME_OUTPUT, f"expected equal outputs, got a difference of {outcome.output:.1e}")
    now = gradients(network, inputs[0])
    outcome.gradient = worst(relative(got, want) for got, want in zip(now, slopes, strict=True))
    outcome.expect(
        outcome.gradient <= SAME_GRADIENT,
        f"expected gradients within {SAME_GRADIENT:.0e}, got a difference of {outcome.gradient:.1e}",
    )

    report = restore_rnns(network)
    outcome.expect(
        list(report.changed) == list(model.recurrent), f"expected {list(model.recurrent)} restored, got: {report}"
    )
    again = exports(network, inputs[0])
    outcome.expect(any(files.values()), "expected an exporter that can export the original model, got none")
    for exporter, before in files.items():
        outcome.onnx[exporter] = None
        after = again[exporter]
        if before is None or after is None:
            outcome.expect(
                before is after,
                f"expected {exporter} to export the restored model as well as the original, got one file",
            )
            continue
        result = run(after, inputs[0])
        same, close = largest(result - run(before, inputs[0])), relative(result, outputs[0], 1.0)
        outcome.onnx[exporter] = same, close
        outcome.expect(
            same <= SAME_ONNX, f"expected {exporter}'s file to run as before, got a difference of {same:.1e}"
        )
        outcome.expect(
            close <= LIKE_TORCH, f"expected {exporter}'s file to run as torch within {LIKE_TORCH:.0e}, got {close:.1e}"
        )
    return outcome


def exports(network: nn.Module, input: Tensor) -> dict[str, bytes | None]:
    """The file of each exporter."""
    return {name: export(network, input, dynamo=dynamo) for name, dynamo in EXPORTERS.items()}


def infer(network: nn.Module, input: Tensor) -> Tensor:
    with torch.no_grad():
        return network(input)


def gradients(network: nn.Module, input: Tensor) -> list[Tensor]:
    """The float64 gradients of all parameters, of a fixed weighted sum of the outputs."""
    network = copy.deepcopy(network).double()
    output = network(input.double() if input.is_floating_point() else input)
    weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
    return list(torch.autograd.grad((output * weights).sum(), list(network.parameters())))


def largest(difference: Tensor) -> float:
    """Its largest absolute value; NaN if there is one."""
    return difference.abs().max().item()


def worst(values: Iterable[float]) -> float:
    """The largest of `values`; NaN if there is one, unlike `max`."""
    return torch.tensor(list(values), dtype=torch.float64).max().item()


def relative(got: Tensor, want: Tensor, least: float = 0.0) -> float:
    """The largest difference, relative to the largest value of `want`, or to `least` if that is larger."""
    scale = max(largest(want), least)
    return largest(got - want) / scale if scale else largest(got - want)
