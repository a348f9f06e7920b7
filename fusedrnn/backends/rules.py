"""Who runs a call: the table of rules, read from the top, and the engines that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch

from fusedrnn.auto import choose
from fusedrnn.backends import onnx, reference, torch_rnn, triton, unrolled
from fusedrnn.backends.cpu import cost
from fusedrnn.backends.cpu.cost import Sizes
from fusedrnn.backends.cpu.network import FUNCTIONS
from fusedrnn.call import Call, Result
from fusedrnn.context import exporting_onnx, readable, recording, transformed
from fusedrnn.types import Backend


class Rule(NamedTuple):
    """An entry of `RULES`."""

    asked: tuple[Backend, ...]  # requested backends that the rule applies to
    engine: str  # a key of ENGINES
    when: Callable[[Call], bool]
    why: str


TORCH_CELLS = tuple(FUNCTIONS)
"""The cells that torch has functions for."""


def always(call: Call) -> bool:
    """Condition of a rule that always applies."""
    return True


def beyond_torch(call: Call) -> bool:
    """Whether the call uses features that torch's functions do not have."""
    spec = call.spec
    if call.has_other_steps or call.all_states or spec.memory != "save" or spec.cell not in TORCH_CELLS:
        return True
    if call.is_ids and not ids_become_features(call):
        return True
    return call.weights.projected and spec.output_size == spec.hidden_size  # torch tells a projection by its size


def steps_recorded(call: Call) -> bool:
    """Whether a call that neither ONNX nor TorchScript has a whole layer for is exported to one of them."""
    return call.has_extras and (recording() or exporting_onnx()) and not onnx.draws_in_vain(call)


def unreadable_resets(call: Call) -> bool:
    """Whether the call has resets whose values cannot be read: the pieces between them have sizes that depend on these."""
    return call.resets is not None and not (call.resets.numel() == 0 or readable(call.resets))


def kernels_alone(call: Call) -> bool:
    """Whether a call on a GPU has what torch has no function for, nor parts of one, and the kernels can run it."""
    return call.has_extras and choose.on_gpu(call) and triton.refuse(call) is None


def traced_off_cuda(call: Call) -> bool:
    """Whether torch.compile or torch.export is tracing a call on a device other than a GPU."""
    return torch.compiler.is_compiling() and not call.input.is_cuda


def without_torch(call: Call) -> bool:
    """Whether torch's functions do not run on the device of the call."""
    return not torch_rnn.runs_on(call.input.device, call.spec.cell)


def unreadable_lengths(call: Call) -> bool:
    """Whether the call has lengths that are not `readable`."""
    return call.lengths is not None and not readable(call.lengths)


def ids_become_features(call: Call) -> bool:
    """Whether torch's function runs token ids as features, faster than our operators gather their columns of w_ih."""
    if not torch_rnn.has_forms(call):
        return False
    sizes = _sizes(call)
    if call.lengths is not None:  # the padding gets features too
        sizes = sizes._replace(N=call.steps * call.batch)
    return cost.features_are_faster(sizes, grad=_needs_grad(call))


def loop_trains_faster(call: Call) -> bool:
    """Whether torch would differentiate the call step by step on a CPU, and our operators train it faster."""
    if call.weights.projected or not torch_rnn.has_forms(call) or not _needs_grad(call) or call.resets is not None:
        return False
    return cost.loop_is_faster(_sizes(call), ids=call.is_ids, packed=call.batch_sizes is not None)


def loop_beats_pieces(call: Call) -> bool:
    """Whether our operators run resets on a CPU faster than torch runs the pieces between them."""
    if call.resets is None or call.weights.projected or not torch_rnn.has_forms(call):
        return False
    resets = int(call.resets.sum())
    return resets > 0 and cost.loop_beats_pieces(_sizes(call), call.resets.numel() / resets)


def _needs_grad(call: Call) -> bool:
    """Whether autograd records the call."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in (call.input, *call.states, *call.weights.flat))


def _sizes(call: Call) -> Sizes:
    """What the cost of a call depends on."""
    spec, steps, batch = call.spec, call.steps, call.batch
    together = steps * batch if call.lengths is None else int(call.lengths.sum())
    together = len(call.input) if call.batch_sizes is not None else together
    dtype, I = call.weights.flat[0].dtype, spec.input_size
    return Sizes(spec.cell, dtype, steps, batch, together, I, spec.hidden_size, spec.num_layers, spec.directions)


ENGINES: dict[str, Callable[[Call], Result]] = {
    "reference": reference.run,
    "unrolled": unrolled.run,
    "torch": torch_rnn.run,
    "triton": triton.run,
    "measured": choose.run,
    "onnx": onnx.run,
}
AUTO: Final = "auto"
TORCH: tuple[Backend, ...] = ("aten", AUTO)
RULES = (
    Rule(("reference", *TORCH), "reference", steps_recorded, "it is exported step by step"),
    Rule(("reference", *TORCH, "triton"), "onnx", lambda call: exporting_onnx(), "ONNX has nodes for whole layers"),
    Rule(("reference",), "reference", always, "asked for"),
    Rule(TORCH, "reference", lambda call: transformed(), "torch's RNN has no rules for torch.func and forward mode"),
    Rule((AUTO,), "triton", kernels_alone, "a step of anything else is several launches"),
    Rule((AUTO,), "measured", choose.kernels_chosen, "the kernels were measured to be faster"),
    Rule(
        TORCH,
        "unrolled",
        traced_off_cuda,
        "torch's RNN would be traced as T steps, and no rule may fix a symbolic size",
    ),
    Rule(TORCH, "unrolled", loop_trains_faster, "torch would differentiate step by step"),
    Rule(TORCH, "unrolled", loop_beats_pieces, "torch would run the pieces between resets"),
    Rule(TORCH, "unrolled", beyond_torch, "torch's RNN takes no such call"),
    Rule(TORCH, "unrolled", lambda call: call.input.is_meta, "torch's RNN does not run on meta"),
    Rule(TORCH, "unrolled", without_torch, "torch's RNN needs kernels that the device does not have"),
    Rule(TORCH, "unrolled", unreadable_resets, "torch runs the pieces between resets, which have to be read"),
    Rule(TORCH, "unrolled", unreadable_lengths, "torch packs sequences by the values of their lengths"),
    Rule(TORCH, "torch", always, "torch's RNN serves the call"),
    Rule(("triton",), "triton", always, "asked for"),
)
"""Which engine runs a call, and why."""
NAMES: tuple[Backend, ...] = tuple(dict.fromkeys(name for rule in RULES for name in rule.asked if name != AUTO))
"""The backends that users may ask for beside "auto"."""
BY_NAME: dict[str, tuple[Rule, ...]] = {
    name: tuple(rule for rule in RULES if name in rule.asked) for name in (*NAMES, AUTO)
}
"""The rules of each."""
