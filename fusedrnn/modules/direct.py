"""A short way to torch's function for common calls of FusedGRU, FusedLSTM and FusedRNN on a CPU.

A small call takes torch some tens of microseconds, and every Python function entered adds about one: `dispatch.run` and what it
calls are some twenty. The short way is a few, and checks in one. Options beyond torch's and most errors of `validation` are left to
`dispatch.run`.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch._C import _is_tracing

from fusedrnn.backends.cpu import cost
from fusedrnn.backends.cpu.cost import Sizes
from fusedrnn.backends.cpu.ids import one_hot, with_features
from fusedrnn.backends.cpu.network import Network, run_torch
from fusedrnn.backends.cpu.run import may_run_alone, run_dense, run_lengths, run_packed
from fusedrnn.backends.cpu.variational import run_variational
from fusedrnn.backends.dispatch import left_to_torch
from fusedrnn.backends.pointwise import torch_masks
from fusedrnn.call import Spec, States, Weights, zeros


def run_directly(
    module: Any,
    input: Any,
    states: States,
    batch_sizes: Tensor | None = None,
    lengths: Tensor | None = None,
    order: Tensor | None = None,
) -> tuple[Tensor, States] | None:
    """Run `module` by torch's function; returns None if `dispatch.run` has to run it.

    Args:
        module: a FusedRNNBase.
        input: in the layout of the module, or packed; features or token ids.
        states: the initial states; () for zeros.
        batch_sizes: those of packed input, else None.
        lengths: those of padded input, or None.
        order: of the samples of packed input, which has as many entries as there are samples; or None.
    """
    if torch.compiler.is_compiling() or type(input) is not Tensor or not input.is_cpu or module.memory != "save":
        return None
    if module.zoneout != 0 or module.heads != 1 or module.layer_norm:
        return None
    if module.recurrent_dropout != 0 and module.training:
        return None
    if _is_tracing():  # torch.jit.trace, for which sizes must not become numbers
        return None
    try:
        cell, sizes, dtype = module._cell, input.shape, input.dtype
    except RuntimeError:  # a nested tensor of layout torch.strided has no shape
        return None
    ids = dtype == torch.int64
    if len(sizes) != (3 if batch_sizes is None else 2) - ids:
        return None
    dropout = weight_dropout = 0.0
    if module.training:
        if module.input_dropout != 0:
            return None
        dropout, weight_dropout = module.dropout if module.num_layers > 1 else 0.0, module.weight_dropout
    if not left_to_torch(cell, module.backend, eager=True):
        return None
    if (dropout != 0 or weight_dropout != 0) and not _torch_drops(dropout, weight_dropout, module.backend, input):
        return None
    batch_first = bool(module.batch_first) and batch_sizes is None
    if batch_sizes is not None:
        steps = len(batch_sizes)
        batch = 0 if steps == 0 else int(batch_sizes[0]) if order is None else order.shape[0]
    else:
        batch, steps = sizes[:2] if batch_first else (sizes[1], sizes[0])
    variational = dropout != 0 and steps > 1 and bool(module.variational)  # one step has one mask
    if variational and (batch_first or batch_sizes is not None or lengths is not None):
        return None
    hidden_size, bidirectional = module.hidden_size, bool(module.bidirectional)
    weight_shapes, state_shapes = _shapes(
        cell,
        module.input_size,
        hidden_size,
        module.proj_size,
        module.num_layers,
        bidirectional,
        bool(module.bias),
        batch,
    )
    try:
        flat = [*map(module._parameters.__getitem__, module._flat_weights_names)]
        fit = [*map(_SHAPE, flat)] == weight_shapes  # a weight of another shape would crash torch's LSTM
        fit = fit and flat[0].is_cpu
    except (KeyError, AttributeError, RuntimeError):  # parametrized, an attribute, None, or torch's ExpandedWeight
        return None
    if not fit or steps < 1 or batch < 1:
        return None
    if ids:
        dtype = flat[0].dtype
    elif flat[0].dtype != dtype or sizes[-1] != module.input_size:
        return None
    cast = torch.is_autocast_enabled("cpu")
    if cast and (ids or variational or batch_sizes is not None or lengths is not None):
        return None
    together = steps * batch
    if lengths is not None:
        if type(lengths) is not Tensor or not lengths.is_cpu or lengths.shape != (batch,):
            return None
        if lengths.dtype not in (torch.int64, torch.int32):
            return None
        each = lengths.tolist()
        if min(each) < 1 or max(each) > steps:
            return None
        together = sum(each)
    elif batch_sizes is not None:
        together = sizes[0]
    grad, directions = torch.is_grad_enabled(), 2 if bidirectional else 1
    hot = False
    trains = grad and steps > cost.NEVER_A_LOOP and module.proj_size == 0
    ragged = together < steps * batch
    alone = batch_sizes is None and may_run_alone(cell, dtype, steps, projected=module.proj_size > 0)
    if trains or ids or ragged or alone:
        about = Sizes(
            cell, dtype, steps, batch, together, module.input_size, hidden_size, module.num_layers, directions
        )
        if trains and cost.loop_is_faster(about, ids=ids, packed=batch_sizes is not None):
            return None
        if ids:
            featured = about if lengths is None else about._replace(N=steps * batch)  # the padding gets features too
            if not cost.features_are_faster(featured, grad=grad):
                return None
        hot = ids and lengths is None and batch_sizes is None and cost.one_hot_is_faster(about, grad=grad)
    if states:
        for state, shape in zip(states, state_shapes, strict=True):
            if type(state) is not Tensor or state.shape != shape or state.dtype != dtype or not state.is_cpu:
                return None
    else:
        if variational:  # every layer starts from the same zeros
            state_shapes = tuple([(directions, *shape[1:]) for shape in state_shapes])
        states = zeros(flat[0] if ids else input, state_shapes)
    bias, projected = bool(module.bias), module.proj_size > 0
    if hot:
        input, ids = one_hot(input, module.input_size, flat[0]), False
    if weight_dropout != 0:
        every = len(flat) // (module.num_layers * directions)
        flat = [torch.dropout(w, weight_dropout, True) if k % every == 1 else w for k, w in enumerate(flat)]
    if not ids and lengths is None and not variational:  # nothing to choose from?
        rest = (flat, bias, module.num_layers, dropout, module.training, bidirectional)
        if batch_sizes is None and (cast or not (alone and cost.steps_alone_are_faster(about, grad=grad))):
            return run_torch(cell, (input,), states, *rest, batch_first)
        if batch_sizes is not None and not (ragged and cost.padded_is_faster(about, grad=grad, packed=True)):
            return run_torch(cell, (input, batch_sizes), states, *rest)
    weights = Weights(flat, directions, bias=bias, projected=projected)
    network = Network(cell, weights, module.training, dropout)
    if batch_sizes is not None:
        return run_packed(network, input, batch_sizes, states)
    if variational:
        if ids:
            network, input = with_features(network, input, about, grad=grad)
        return run_variational(network, input, states, dropout)
    if lengths is None:
        return run_dense(network, input, states, batch_first)
    output, finals = run_lengths(network, input.transpose(0, 1) if batch_first else input, lengths, states, together)
    return output.transpose(0, 1) if batch_first else output, finals


def _torch_drops(p: Any, q: Any, backend: str | None, input: Tensor) -> bool:
    """Whether the dropout masks are torch's, and both probabilities are valid."""
    valid = type(p) is float and type(q) is float and 0 <= p <= 1 and 0 <= q <= 1
    return valid and torch_masks(backend, input)


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
    kept = (True, True, bias, bias, proj_size > 0, False, False, False, False)
    every = [spec.weight_shapes(depth) for depth in range(num_layers) for _ in range(spec.directions)]
    weights = [shape for shapes in every for shape, keep in zip(shapes, kept, strict=True) if keep]
    return weights, spec.state_shapes(batch)
