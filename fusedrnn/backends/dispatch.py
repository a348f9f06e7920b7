"""The entry point of recurrent calls: check the call, add default states and dropout seeds, choose an engine, run it.

`RULES` choose the engine: the first rule for the requested backend whose condition holds. A backend that is requested by name
but cannot run the call is an error, never a fallback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fusedrnn import validation
from fusedrnn.backends import reference, torch_rnn, triton, unrolled
from fusedrnn.backends.auto import automatic
from fusedrnn.backends.choice import AUTO, NAMES, requested
from fusedrnn.call import Call, Result
from fusedrnn.context import autocast_dtype, readable, transformed
from fusedrnn.operators.dropout import seed_for


class BackendUnavailableError(RuntimeError):
    """The requested backend cannot run the call; the message says why."""


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
    return call.is_ids or call.all_states or spec.cell not in TORCH_CELLS or spec.memory == "recompute"


def traced_off_cuda(call: Call) -> bool:
    """Whether torch.compile or torch.export is tracing a call on a device other than a GPU."""
    return torch.compiler.is_compiling() and not call.input.is_cuda


def unreadable_lengths(call: Call) -> bool:
    """Whether the call has lengths that are not `readable`."""
    return call.lengths is not None and not readable(call.lengths)


def many_small_steps(call: Call) -> bool:
    """Whether a float32 or float64 GRU is trained on a CPU with many small steps and samples of equal length.

    torch differentiates its CPU GRU step by step; the hand-derived backward does part of the work for all steps at once, which is
    1.1 to 2 times faster for these sizes (measured by benchmarks/measuring/cpu_pairs.py). oneDNN's LSTM is faster than both.
    """
    spec, input = call.spec, call.input
    if spec.cell != "gru" or not input.is_cpu or call.batch_sizes is not None or call.lengths is not None:
        return False
    T, B = input.shape[:2]
    if not ((T >= 32 or spec.hidden_size >= 256) and (B <= 8 or B * spec.hidden_size <= 1024)):
        return False
    if not torch.is_grad_enabled() or input.dtype not in (torch.float32, torch.float64) or autocast_dtype(input.device):
        return False
    return input.requires_grad or any(t.requires_grad for t in (*call.states, *call.weights.flat))


TORCH = ("aten", AUTO)
RULES = (
    Rule(("reference",), "reference", always, "asked for"),
    Rule(("triton",), "triton", always, "asked for"),
    Rule((AUTO,), "triton", lambda call: automatic(call) == "triton", "the cost model expects the kernels to win"),
    Rule(TORCH, "reference", lambda call: transformed(), "torch's RNN has no rules for torch.func and forward mode"),
    Rule(TORCH, "unrolled", beyond_torch, "torch's RNN takes no such call"),
    Rule(TORCH, "unrolled", lambda call: call.input.is_meta, "torch's RNN does not run on meta"),
    Rule(TORCH, "unrolled", traced_off_cuda, "torch's RNN would be traced as T steps"),
    Rule(TORCH, "unrolled", unreadable_lengths, "torch packs sequences by the values of their lengths"),
    Rule(TORCH, "unrolled, copied", many_small_steps, "measured to be faster"),
    Rule(TORCH, "torch", always, "torch's RNN serves the call"),
)
"""Which engine runs a call, and why."""
_RULES = {name: tuple(rule for rule in RULES if name in rule.asked) for name in (*NAMES, AUTO)}
ENGINES: dict[str, Callable[[Call], Result]] = {
    "reference": reference.run,
    "triton": triton.run,
    "torch": torch_rnn.run,
    "unrolled": unrolled.run,
    "unrolled, copied": unrolled.run_copied,
}


def decide(call: Call, backend: str | None) -> Rule:
    """The rule that applies to `call`.

    Raises:
        ValueError: the backend does not exist.
        BackendUnavailableError: the requested backend cannot run `call`.
    """
    for rule in _RULES[requested(backend)]:
        if rule.when(call):
            break
    if rule.engine == "triton":
        _refuse_for(triton.refuse(call))
    return rule


def run(call: Call, backend: str | None) -> Result:
    """Run `call` on the requested backend.

    Raises:
        The errors of `decide`, and those of `validation.check_call` for invalid arguments.
    """
    if requested(backend) in TORCH and plain(call):
        return ENGINES["torch"](with_states(call))
    validation.check_call(call)
    spec = call.spec
    call = with_states(call)
    if call.training and spec.dropout > 0 and spec.num_layers > 1:
        call = call._replace(seeds=seed_for(spec.dropout, call.input.device, spec.num_layers - 1))
    return ENGINES[decide(call, backend).engine](call)


def plain(call: Call) -> bool:
    """Whether torch's RNN runs a valid call on a CPU: a fast path that replaces `check_call` and `RULES` for common calls.

    Small calls take some ten microseconds; separate checks and rules would add a third.
    """
    spec, input, weight = call.spec, call.input, call.weights.flat[0]
    if torch.compiler.is_compiling() or type(input) is not Tensor or not (input.is_cpu and weight.is_cpu):
        return False
    if (
        beyond_torch(call)
        or call.lengths is not None
        or (call.training and spec.dropout)
        or input.dtype != weight.dtype
    ):
        return False
    if input.dim() != (3 if call.batch_sizes is None else 2) or input.shape[-1] != spec.input_size or call.steps < 1:
        return False
    if not validation.weights_fit(spec, call.weights):
        return False
    for state, shape in zip(call.states, spec.state_shapes(call.batch), strict=False):
        if state.shape != shape or state.dtype != input.dtype or not state.is_cpu:
            return False
    return not transformed() and not many_small_steps(call)


def with_states(call: Call) -> Call:
    """`call`, with zeros as its initial states if it has none."""
    if call.states:
        return call
    like = call.weights.flat[0] if call.is_ids else call.input
    return call._replace(states=call.spec.zeros(like, call.batch))


def available_backends() -> dict[str, str | None]:
    """All backends by name, each with the reason why it cannot run here, or None if it can."""
    return {"reference": None, "aten": None, "triton": triton.missing()}


def torch_has_step(cell: str, backend: str | None) -> bool:
    """Whether one step of `cell` with floating-point input is run by torch's own cell."""
    return cell in TORCH_CELLS and requested(backend) in TORCH and not transformed()


def pointwise_engine(backend: str | None, input: Tensor) -> str:
    """The engine of a pointwise operation on `input`, "triton" or "plain"; results are bit-identical.

    Raises:
        BackendUnavailableError: "triton" was requested and cannot run.
    """
    wanted = requested(backend)
    if wanted == AUTO:
        return triton.pointwise_engine(input)
    if wanted == "triton":
        _refuse_for(triton.refuse_input(input))
    return "triton" if wanted == "triton" else "plain"


def _refuse_for(reason: str | None) -> None:
    if reason is not None:
        raise BackendUnavailableError(f"backend 'triton' cannot serve this call: {reason}")
