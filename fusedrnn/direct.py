"""The shortest way to torch's own RNN on a CPU, for the calls that need nothing else of this package.

A small LSTM takes torch a tenth of a millisecond; the general way through checks, layers and backends adds a third to that.
This one asks only whether the call is plain and good, and leaves every other one, every error included, to the general way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn import backends
from fusedrnn.backend_aten import derived_by_hand
from fusedrnn.circumstances import transformed


def run(module: Any, input: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """Output and final states of a module of ours on a batched input in its own layout, or None: take the general way."""
    if torch.compiler.is_compiling() or type(input) is not Tensor or not input.is_cpu or input.dim() != 3:
        return None
    training = module.training
    if module.memory != "save":
        return None
    if training and (module.dropout or module.input_dropout or module.weight_dropout):
        return None
    if (
        backends.requested(module.backend) not in ("aten", backends.AUTO) or transformed()
    ):  # on a CPU these are the same
        return None
    steps, batch = input.shape[:2]
    if module.batch_first:
        steps, batch = batch, steps
    own, lstm = module._parameters, module.mode == "LSTM"
    weights = [own[name] if name in own else getattr(module, name) for name in module._flat_weights_names]
    first = weights[0]
    if steps < 1 or input.shape[2] != module.input_size or first.dtype != input.dtype or not first.is_cpu:
        return None
    widths = (module.proj_size or module.hidden_size, module.hidden_size) if lstm else (module.hidden_size,)
    rows = module.num_layers * (2 if module.bidirectional else 1)
    if states is None:
        states = tuple([input.new_zeros(rows, batch, width) for width in widths])
    else:
        for state, width in zip(states, widths, strict=True):
            if state.shape != (rows, batch, width) or state.dtype != input.dtype or not state.is_cpu:
                return None
    options = (module.bias, module.num_layers, 0.0, training, bool(module.bidirectional), module.batch_first)
    if lstm:
        output, *finals = torch.lstm(input, states, weights, *options)
        return output, tuple(finals)
    if not module.reset_after or derived_by_hand("gru", input, [*states, *weights], steps, batch, module.hidden_size):
        return None
    output, h_n = torch.gru(input, states[0], weights, *options)
    return output, (h_n,)
