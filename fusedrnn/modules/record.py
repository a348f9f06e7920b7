"""TorchScript: torch.jit.script and torch.jit.trace get torch.nn's modules, on the same parameters, in the place of ours.

A scripted or traced model can then be loaded without this package, and runs for other sizes as torch.nn's does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fusedrnn import validation
from fusedrnn.call import Call, States
from fusedrnn.context import unrecorded
from fusedrnn.reference.loop import active_steps


def scriptable(module: nn.Module) -> nn.Module:
    """The module that torch.jit.script compiles in place of `module`.

    Raises:
        RuntimeError: `module` is of a subclass, or uses an option that torch.nn does not have.
    """
    from fusedrnn.modules.replace import TORCH, as_torch  # which imports the modules

    if type(module) not in TORCH and not nn.utils.parametrize.is_parametrized(module):
        raise RuntimeError(
            f"torch.jit.script: expected a module of this package, got the subclass {type(module).__name__}"
        )
    return as_torch(module, "torch.jit.script", without=("memory",))


def record(module: Any, call: Call) -> tuple[Tensor, States] | None:
    """Run `call`, of `module`, while torch.jit.trace records, by torch.nn's module: the output and the final states.

    Token ids become one-hot rows, and samples with `lengths` are packed. Returns None if torch.nn's module cannot do it, or if
    ONNX gets nodes of its own.

    Raises:
        The errors of `validation.check_call`.
    """
    from fusedrnn.modules.replace import as_torch

    unrecorded(validation.check_call, call)
    if call.all_states or call.resets is not None or (call.batch_sizes is None and torch.onnx.is_in_onnx_export()):
        return None
    unused = ("memory",) if module.training else (
        "memory", "variational", "input_dropout", "weight_dropout", "recurrent_dropout",
    )  # fmt: skip
    try:
        twin: Any = as_torch(module, "torch.jit.trace", without=unused)
    except RuntimeError:
        return None
    twin.batch_first = False
    x, lengths = _rows(call), call.lengths
    hx: Any = None if not call.states else call.states if module.mode == "LSTM" else call.states[0]
    if call.batch_sizes is not None:
        output, finals = twin.forward(PackedSequence(x, call.batch_sizes), hx)
        output = output.data
    elif lengths is None:
        output, finals = twin.forward(x, hx)
    else:
        output, finals = twin.forward(pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False), hx)
        output, _ = pad_packed_sequence(output, total_length=x.shape[0])
    return output, finals if isinstance(finals, tuple) else (finals,)


def _rows(call: Call) -> Tensor:
    """Features, or the one-hot rows of token ids; those past `lengths` are not read."""
    if not call.is_ids:
        return call.input
    ids = call.input
    if call.lengths is not None:
        ids = torch.where(active_steps(call.lengths, ids.shape[0]), ids, 0)
    return nn.functional.one_hot(ids, call.spec.input_size).to(call.weights.flat[0].dtype)
