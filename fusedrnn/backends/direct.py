"""The shortest way to torch's own RNN on a CPU, for the calls that need nothing else of this package.

A small LSTM takes torch a tenth of a millisecond, a cell a fiftieth; the general way through checks, layers and backends adds a
third to that. This one asks only whether the call is plain and good, and leaves every other one, every error included, to the
general way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn.backends import choice as backends
from fusedrnn.backends.aten import derived_by_hand
from fusedrnn.context import transformed_eagerly

States = tuple[Tensor, ...]


def run(
    module: Any, input: Tensor, states: States | None, batch_sizes: Tensor | None = None
) -> tuple[Tensor, States] | None:
    """Output and final states of a module of ours on input in its own layout, or None: take the general way."""
    if torch.compiler.is_compiling() or type(input) is not Tensor or not input.is_cpu:
        return None
    training, batch_first, rank = module.training, module.batch_first, input.dim()
    if training and (module.dropout or module.input_dropout or module.weight_dropout):
        return None
    if not 2 <= rank <= 3 or module.memory != "save" or not _by_torch(module):
        return None
    if batch_sizes is not None:
        if rank != 2:
            return None
        steps, batch = len(batch_sizes), int(batch_sizes[0])
    elif rank == 2:
        if states is not None and {state.dim() for state in states} != {2}:
            return None
        output_and_finals = run(module, input.unsqueeze(0 if batch_first else 1), _each_unsqueezed(states))
        if output_and_finals is None:
            return None
        output, finals = output_and_finals
        return output.squeeze(0 if batch_first else 1), tuple([state.squeeze(1) for state in finals])
    else:
        steps, batch = input.shape[:2] if not batch_first else (input.shape[1], input.shape[0])
    own, lstm = module._parameters, module.mode == "LSTM"
    weights = [own[name] if name in own else getattr(module, name) for name in module._flat_weights_names]
    first = weights[0]
    if steps < 1 or input.shape[-1] != module.input_size or first.dtype != input.dtype or not first.is_cpu:
        return None
    widths = (module.proj_size or module.hidden_size, module.hidden_size) if lstm else (module.hidden_size,)
    rows = module.num_layers * (2 if module.bidirectional else 1)
    if states is None:
        states = tuple([input.new_zeros(rows, batch, width) for width in widths])
    elif not _fit(states, [(rows, batch, width) for width in widths], input):
        return None
    hx: Any = states if lstm else states[0]
    if not lstm:
        everything = [*states, *weights]
        by_hand = batch_sizes is None and derived_by_hand("gru", input, everything, steps, batch, module.hidden_size)
        if by_hand or not module.reset_after:
            return None
    function = torch.lstm if lstm else torch.gru
    options = (module.bias, module.num_layers, 0.0, training, bool(module.bidirectional))
    if batch_sizes is None:
        output, *found = function(input, hx, weights, *options, batch_first)
    else:
        output, *found = function(input, batch_sizes, hx, weights, *options)
    return output, tuple(found)


def step(cell: Any, input: Tensor, states: States | None, count: int) -> States | None:
    """The next states of a cell of ours from its `count` states, or None: take the general way.

    Sizes, devices and the weights' dtype are left to torch, which looks at them anyhow: what it refuses is put to the general
    way, which says why. Dimensions and dtypes of states are not: torch broadcasts the one and promotes the other.
    """
    if torch.compiler.is_compiling() or type(input) is not Tensor or input.dim() != 2 or not input.is_cpu:
        return None
    if not _by_torch(cell) or not getattr(cell, "reset_after", True):
        return None
    dtype = input.dtype
    if states is None:
        states = (input.new_zeros(len(input), cell.hidden_size),) * count
    else:
        for state in states:
            if type(state) is not Tensor or state.dim() != 2 or state.dtype != dtype:
                return None
    own = cell._parameters
    weights = [own[name] if name in own else getattr(cell, name) for name in _CELL_NAMES]
    if weights[0].dtype != dtype:
        return None
    try:
        next_states: States = cell._step(input, states, weights)
    except RuntimeError:
        return None
    return next_states


_CELL_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _by_torch(module: Any) -> bool:
    """Whether the choice of backend comes to torch's own RNN, and no transform is at work, which it does not pass."""
    return backends.requested_eagerly(module.backend) in _TORCHS and not transformed_eagerly()


_TORCHS = ("aten", backends.AUTO)  # on a CPU these are the same


def _fit(states: States, shapes: list[tuple[int, ...]], input: Tensor) -> bool:
    for state, shape in zip(states, shapes, strict=True):
        if state.shape != shape or state.dtype != input.dtype or not state.is_cpu:
            return False
    return True


def _each_unsqueezed(states: States | None) -> States | None:
    return None if states is None else tuple([state.unsqueeze(1) for state in states])
