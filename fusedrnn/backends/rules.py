"""Who runs a call: the table of rules, read from the top, and the engines that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from fusedrnn.auto import choose
from fusedrnn.backends import onnx, reference, torch_rnn, triton, unrolled
from fusedrnn.call import Call, Result
from fusedrnn.context import autocast_dtype, exporting_onnx, readable, transformed


class Rule(NamedTuple):
    """An entry of `RULES`."""

    asked: tuple[str, ...]  # requested backends that the rule applies to
    engine: str  # a key of ENGINES
    when: Callable[[Call], bool]
    why: str


TORCH_CELLS = ("gru", "lstm")
"""The cells that torch has functions for."""


def always(call: Call) -> bool:
    """Condition of a rule that always applies."""
    return True


def beyond_torch(call: Call) -> bool:
    """Whether the call uses features that torch's functions do not have."""
    spec = call.spec
    if call.all_states or spec.memory != "save" or spec.cell not in TORCH_CELLS or call.input.dtype == torch.int64:
        return True
    return call.weights.projected and spec.output_size == spec.hidden_size  # torch tells a projection by its size


def traced_off_cuda(call: Call) -> bool:
    """Whether torch.compile or torch.export is tracing a call on a device other than a GPU."""
    return torch.compiler.is_compiling() and not call.input.is_cuda


def without_torch(call: Call) -> bool:
    """Whether torch's functions do not run on the device of the call."""
    return not torch_rnn.runs_on(call.input.device, call.spec.cell)


def unreadable_lengths(call: Call) -> bool:
    """Whether the call has lengths that are not `readable`."""
    return call.lengths is not None and not readable(call.lengths)


def small_steps(T: int, B: int, H: int) -> bool:
    """Whether these sizes are those of `many_small_steps`."""
    return (T >= 32 or H >= 256) and (B <= 8 or B * H <= 1024)


def many_small_steps(call: Call) -> bool:
    """Whether a float32 or float64 GRU is trained on a CPU with many small steps and samples of equal length.

    torch differentiates its CPU GRU step by step; the hand-derived backward does part of the work for all steps at once, which is
    1.1 to 2 times faster for these sizes (measured by benchmarks/measuring/cpu_pairs.py). oneDNN's LSTM is faster than both.
    """
    spec, input = call.spec, call.input
    if spec.cell != "gru" or not input.is_cpu or call.batch_sizes is not None or call.lengths is not None:
        return False
    if any(type(weight) not in (Tensor, Parameter) for weight in call.weights.flat):  # such as torch's ExpandedWeight
        return False
    if not small_steps(input.shape[0], input.shape[1], spec.hidden_size):
        return False
    if not torch.is_grad_enabled() or input.dtype not in (torch.float32, torch.float64) or autocast_dtype(input.device):
        return False
    return input.requires_grad or any(t is not None and t.requires_grad for t in (*call.states, *call.weights.flat))


ENGINES: dict[str, Callable[[Call], Result]] = {
    "reference": reference.run,
    "unrolled": unrolled.run,
    "torch": torch_rnn.run,
    "triton": triton.run,
    "measured": choose.run,
    "onnx": onnx.run,
}
AUTO = "auto"
TORCH = ("aten", AUTO)
RULES = (
    Rule(("reference", *TORCH, "triton"), "onnx", lambda call: exporting_onnx(), "ONNX has nodes for whole layers"),
    Rule(("reference",), "reference", always, "asked for"),
    Rule(TORCH, "reference", lambda call: transformed(), "torch's RNN has no rules for torch.func and forward mode"),
    Rule((AUTO,), "measured", choose.kernels_chosen, "the kernels were measured to be faster"),
    Rule(
        TORCH,
        "unrolled",
        traced_off_cuda,
        "torch's RNN would be traced as T steps, and no rule may fix a symbolic size",
    ),
    Rule(TORCH, "unrolled", many_small_steps, "measured to be faster"),
    Rule(TORCH, "unrolled", beyond_torch, "torch's RNN takes no such call"),
    Rule(TORCH, "unrolled", lambda call: call.input.is_meta, "torch's RNN does not run on meta"),
    Rule(TORCH, "unrolled", without_torch, "torch's RNN needs kernels that the device does not have"),
    Rule(TORCH, "unrolled", unreadable_lengths, "torch packs sequences by the values of their lengths"),
    Rule(TORCH, "torch", always, "torch's RNN serves the call"),
    Rule(("triton",), "triton", always, "asked for"),
)
"""Which engine runs a call, and why."""
NAMES = tuple(dict.fromkeys(name for rule in RULES for name in rule.asked if name != AUTO))
"""The backends that users may ask for beside "auto"."""
BY_NAME = {name: tuple(rule for rule in RULES if name in rule.asked) for name in (*NAMES, AUTO)}
"""The rules of each."""
