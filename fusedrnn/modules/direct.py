"""A short way to torch's function for common calls of FusedGRU and FusedLSTM on a CPU.

A small call takes torch some tens of microseconds, and every Python function entered adds about one: `dispatch.run` and what it
calls are some twenty. The short way is a few, and checks in one. Options beyond torch's and the errors of `validation` are left to
`dispatch.run`.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch._C import _is_tracing

from fusedrnn.backends.dispatch import left_to_torch
from fusedrnn.backends.rules import small_steps
from fusedrnn.backends.torch_rnn import call_torch
from fusedrnn.call import Spec, States, zeros


def run_directly(
    module: Any, input: Any, states: States, batch_sizes: Tensor | None = None
) -> tuple[Tensor, States] | None:
    """Run `module` by torch's function; returns None if `dispatch.run` has to run it.

    Args:
        module: a FusedRNNBase.
        input: in the layout of the module, or packed.
        states: the initial states; () for zeros.
        batch_sizes: those of packed input, else None.
    """
    if torch.compiler.is_compiling() or type(input) is not Tensor or not input.is_cpu or module.memory != "save":
        return None
    if _is_tracing():  # torch.jit.trace, for which sizes must not become numbers
        return None
    try:
        cell, sizes, dtype = module._cell, input.shape, input.dtype
    except RuntimeError:  # a nested tensor of layout torch.strided has no shape
        return None
    if len(sizes) != (3 if batch_sizes is None else 2):
        return None
    if module.training and (module.dropout != 0 or module.input_dropout != 0 or module.weight_dropout != 0):
        return None
    if not left_to_torch(cell, module.backend, eager=True):
        return None
    if batch_sizes is not None:
        steps = len(batch_sizes)
        batch = int(batch_sizes[0]) if steps else 0
    else:
        batch, steps = sizes[:2] if module.batch_first else (sizes[1], sizes[0])
        if cell == "gru" and torch.is_grad_enabled() and small_steps(steps, batch, module.hidden_size):
            return None
    weight_shapes, state_shapes = _shapes(
        cell,
        module.input_size,
        module.hidden_size,
        module.proj_size,
        module.num_layers,
        bool(module.bidirectional),
        bool(module.bias),
        batch,
    )
    try:
        flat = [*map(module._parameters.__getitem__, module._flat_weights_names)]
        fit = [*map(_SHAPE, flat)] == weight_shapes  # a weight of another shape would crash torch's LSTM
        fit = fit and flat[0].is_cpu
    except (KeyError, AttributeError, RuntimeError):  # parametrized, an attribute, None, or torch's ExpandedWeight
        return None
    if not fit or flat[0].dtype != dtype or steps < 1 or sizes[-1] != module.input_size:
        return None
    if states:
        for state, shape in zip(states, state_shapes, strict=True):
            if state.shape != shape or state.dtype != dtype or not state.is_cpu:
                return None
    else:
        states = zeros(input, state_shapes)
    options = (bool(module.bias), module.num_layers, 0.0, module.training, bool(module.bidirectional))
    return call_torch(cell, input, batch_sizes, states, flat, options, bool(module.batch_first))


_SHAPE = attrgetter("shape")


@lru_cache(maxsize=256, typed=True)
def _shapes(
    cell: str,
    input_size: int,
    hidden_size: int,
    proj_size: int,
    num_layers: int,
    bidirectional: bool,
    bias: bool,
    batch: int,
) -> tuple[list[tuple[int, ...]] | None, tuple[tuple[int, int, int], ...]]:
    """The shapes of a module's weights in the order of torch.nn, and of its states.

    Those of the weights are None for a projection as wide as h, which torch would not recognise as one.
    """
    spec = Spec(cell, input_size, hidden_size, proj_size or hidden_size, num_layers, 2 if bidirectional else 1)
    if proj_size == hidden_size:
        return None, spec.state_shapes(batch)
    kept = (True, True, bias, bias, proj_size > 0)
    every = [spec.weight_shapes(depth) for depth in range(num_layers) for _ in range(spec.directions)]
    weights = [shape for shapes in every for shape, keep in zip(shapes, kept, strict=True) if keep]
    return weights, spec.state_shapes(batch)
