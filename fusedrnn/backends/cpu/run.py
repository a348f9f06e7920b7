"""Choose the form of a call of torch's functions on a CPU, and run it.

Every input may be token ids, without the dimension of features. Results are the output and the final states.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fusedrnn.backends.cpu import cost
from fusedrnn.backends.cpu.cost import Sizes
from fusedrnn.backends.cpu.ids import with_features
from fusedrnn.backends.cpu.network import Network
from fusedrnn.backends.cpu.one_step import run_one_step
from fusedrnn.backends.cpu.padded import passes_padding, run_padded
from fusedrnn.call import States
from fusedrnn.operators.dropout import torch_dropout_of_rows
from fusedrnn.operators.packing import pack, sort_and_pack, unpack, unpack_and_unsort
from fusedrnn.reference.loop import active_steps


def run_form(
    network: Network, input: Tensor, states: States, batch_sizes: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, States]:
    """Run dense input, packed rows with `batch_sizes`, or padded input with `lengths`."""
    if lengths is not None:
        return run_lengths(network, input, lengths, states)
    if batch_sizes is not None:
        return run_packed(network, input, batch_sizes, states)
    return run_dense(network, input, states)


def may_run_alone(cell: str, dtype: torch.dtype, T: int, *, projected: bool) -> bool:
    """Whether a call of T steps is one that `run_one_step` serves, and perhaps faster."""
    return T == 1 and cell == "lstm" and dtype == torch.float32 and not projected


def run_dense(network: Network, x: Tensor, states: States, batch_first: bool = False) -> tuple[Tensor, States]:
    """Run samples of equal length, (T, B, I) or, with `batch_first`, (B, T, I)."""
    time = 1 if batch_first else 0
    T, B = x.shape[time], x.shape[1 - time]
    ids, weights = x.dtype == torch.int64, network.weights
    alone = may_run_alone(network.cell, weights.flat[0].dtype, T, projected=weights.projected)
    if not ids and not alone:
        return network.call(x, states, batch_first=batch_first)
    sizes, grad = network.sizes(T, B, T * B), network.needs_grad(x, states)
    if ids:
        network, x = with_features(network, x, sizes, grad=grad)
    if alone and cost.steps_alone_are_faster(sizes, grad=grad):
        output, finals = run_one_step(network, x.squeeze(time), states)
        return output.unsqueeze(time), finals
    return network.call(x, states, batch_first=batch_first)


def run_packed(network: Network, data: Tensor, batch_sizes: Tensor, states: States) -> tuple[Tensor, States]:
    """Run packed rows (N, I); the output is packed too."""
    T, B, rows = len(batch_sizes), states[0].shape[1], len(data)
    grad = network.needs_grad(data, states)
    if data.dtype == torch.int64:
        network, data = with_features(network, data, network.sizes(T, B, rows), grad=grad)
    if _padded(network, states, network.sizes(T, B, rows), grad=grad, packed=True):
        x, lengths, places = unpack(data, batch_sizes, B)
        drop = partial(torch_dropout_of_rows, p=network.dropout, places=places)
        output, finals = run_padded(network, x, states, active_steps(lengths, T), drop)
        return pack(output, places), finals
    return network.call(data, states, batch_sizes)


def run_lengths(
    network: Network, x: Tensor, lengths: Tensor, states: States, together: int | None = None
) -> tuple[Tensor, States]:
    """Run samples of `lengths` (B,) in any order, `together` their sum, padded to (T, B, I); the output is zero in the padding."""
    (T, B), rows = x.shape[:2], int(lengths.sum()) if together is None else together
    if rows == T * B:
        return run_dense(network, x, states)
    grad = network.needs_grad(x, states)
    if x.dtype == torch.int64:
        x = torch.where(active_steps(lengths, T), x, 0)
        network, x = with_features(network, x, network.sizes(T, B, T * B), grad=grad)  # the padding gets features too
    if _padded(network, states, network.sizes(T, B, rows), grad=grad, packed=False):
        return run_padded(network, x, states, active_steps(lengths, T))
    return run_sorted(network, x, lengths, states)


def run_sorted(network: Network, x: Tensor, lengths: Tensor, states: States) -> tuple[Tensor, States]:
    """Sort by length, pack, run, and put everything back in the caller's order, padded to T; with dropout layer by layer."""
    if network.dropout:
        return network.layer_by_layer(lambda layer, x, state: run_sorted(layer, x, lengths, state), x, states)
    rows, batch_sizes, order = sort_and_pack(x, lengths)
    rows, finals = network.call(rows, tuple([state.index_select(1, order) for state in states]), batch_sizes)
    output, places = unpack_and_unsort(rows, batch_sizes, order, len(x))
    return output, tuple([state.index_select(1, places) for state in finals])


def _padded(network: Network, states: States, sizes: Sizes, *, grad: bool, packed: bool) -> bool:
    """Whether to run samples of several lengths padded."""
    return cost.padded_is_faster(sizes, grad=grad, packed=packed) and passes_padding(network, states)
