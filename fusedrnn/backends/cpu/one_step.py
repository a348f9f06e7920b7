"""A call of one step by torch's cells: a layer prepares its weights for many steps first, which one step does not repay."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.backends.cpu.network import Network
from fusedrnn.call import States


def run_one_step(network: Network, x: Tensor, states: States) -> tuple[Tensor, States]:
    """Run the step on x (B, I); returns the output (B, D*H) and the final states."""
    found: list[States] = []
    flat, directions, count = network.weights.flat, network.weights.directions, network.weights.count
    for depth in range(network.num_layers):
        if depth and network.dropout:
            x = torch.dropout(x, network.dropout, True)
        for k in range(depth * directions, (depth + 1) * directions):
            weights = flat[k * count : (k + 1) * count]
            if network.cell == "lstm":
                found.append(torch.lstm_cell(x, (states[0][k], states[1][k]), *weights))
            else:
                found.append((torch.gru_cell(x, states[0][k], *weights),))
        h = [state[0] for state in found[-directions:]]
        x = h[0] if directions == 1 else torch.cat(h, -1)
    return x, tuple([torch.stack(parts) for parts in zip(*found, strict=True)])
