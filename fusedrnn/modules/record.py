"""TorchScript: torch.jit.script and torch.jit.trace get torch.nn's modules, on the same parameters, in the place of ours.

A scripted or traced model can then be loaded without this package, and runs for other sizes as torch.nn's does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fusedrnn.call import States
from fusedrnn.validation import as_ids


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


def record(module: Any, input: Any, states: States, lengths: Tensor | None, all_states: bool) -> tuple[Any, ...] | None:
    """Run `module` while torch.jit.trace records; None if torch.nn's module cannot do it, or if ONNX gets nodes of its own.

    Token ids become one-hot rows, and samples with `lengths` are packed.
    """
    from fusedrnn.modules.replace import as_torch

    packed = isinstance(input, PackedSequence)
    if all_states or (not packed and torch.onnx.is_in_onnx_export()):
        return None
    unused = ("memory",) if module.training else ("memory", "variational", "input_dropout", "weight_dropout")
    try:
        twin = as_torch(module, "torch.jit.trace", without=unused)
    except RuntimeError:
        return None
    if packed:
        input = input._replace(data=_rows(module, as_ids(input.data, 2)))
    elif isinstance(input, Tensor):
        input = _rows(module, as_ids(input, 3))
    hx: Any = None if not states else states if module.mode == "LSTM" else states[0]
    if lengths is None:
        output, finals = twin.forward(input, hx)
    else:
        rows = pack_padded_sequence(input, lengths.cpu(), module.batch_first, enforce_sorted=False)
        output, finals = twin.forward(rows, hx)
        steps = input.shape[1 if module.batch_first else 0]
        output, _ = pad_packed_sequence(output, module.batch_first, total_length=steps)
    return output, finals if isinstance(finals, tuple) else (finals,)


def _rows(module: Any, input: Tensor) -> Tensor:
    """Features, or the one-hot rows of token ids."""
    if input.is_floating_point():
        return input
    return nn.functional.one_hot(input, module.input_size).to(module._flat_weights[0].dtype)
