"""Layers with one dropout mask between them for all steps, which torch's functions do not have: one call a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.backends.cpu.network import Network, run_torch
from fusedrnn.call import States
from fusedrnn.operators.dropout import torch_dropout


def run_variational(network: Network, x: Tensor, states: States, p: float) -> tuple[Tensor, States]:
    """Run features x (T, B, I), with probability `p` of dropping an element between layers.

    `states`: those of all layers, or of one layer, from which every layer then starts.

    A loop without a function or an object for each layer: a small layer takes torch less time than these.
    """
    flat, D = network.weights.flat, network.weights.directions
    each, shared = network.weights.count * D, len(states[0]) == D
    rest = (network.weights.bias, 1, 0.0, network.training, D == 2, False)
    finals, own = [], states
    for first in range(0, len(flat), each):
        if first:
            x = torch_dropout(x, p, shared_dims=1)
        if not shared:
            own = tuple([state.narrow(0, first // each * D, D) for state in states])
        x, final = run_torch(network.cell, (x,), own, flat[first : first + each], *rest)
        finals.append(final)
    return x, tuple([torch.cat(parts) for parts in zip(*finals, strict=True)])
