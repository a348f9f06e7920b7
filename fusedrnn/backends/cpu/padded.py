"""Samples of several lengths as one dense batch, for torch's kernels that take no lengths.

The input gets one more feature, which is 1 in the padding and 0 elsewhere. Its column of w_ih is so large that the gates of a
step in the padding are exactly 0 or 1, whatever the weights are: those that keep the state. Then the states pass the padding
unchanged, no gradient comes from it, and a reversed direction starts at the end of its sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusedrnn.backends.cpu.network import Network
from fusedrnn.call import States

CLOSED = 1e4
"""Added to a pre-activation: a sigmoid of it is 1, and of its negative 0, in every dtype."""
COLUMN = {"lstm": (-CLOSED, CLOSED, 0.0, -CLOSED), "gru": (0.0, CLOSED, 0.0)}
"""The column of the flag by gate. An LSTM keeps c (i = 0, f = 1), and o = 0 makes h zero; a GRU keeps h (z = 1)."""


def passes_padding(network: Network, states: States) -> bool:
    """Whether `run_padded` serves the call.

    In the padding an LSTM has h = 0, so that a reversed direction can start from no other. A projected h is not o tanh(c). An RNN
    has no gate that keeps h.
    """
    if network.weights.projected or network.cell not in COLUMN:
        return False
    h = states[0]
    return network.cell == "gru" or network.weights.directions == 1 or not (h.requires_grad or bool(h.any()))


def run_padded(
    network: Network, x: Tensor, states: States, active: Tensor, drop: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, States]:
    """Run `network` on x (T, B, I), where `active` (T, B) is whether a step is before the end of its sample.

    `drop`: as for `Network.layer_by_layer`.

    Returns:
        The output, (T, B, D*H), zero in the padding, and the final states.
    """
    active = active.unsqueeze(-1)
    ended = (~active).to(x.dtype)
    last = active.sum(0).sub_(1)  # (B, 1)
    H, D = network.hidden_size, network.weights.directions
    column = x.new_tensor(COLUMN[network.cell]).repeat_interleave(H).unsqueeze(-1)

    def run(layer: Network, x: Tensor, state: States) -> tuple[Tensor, States]:
        layer = layer.with_input_weights(lambda w: torch.cat([w, column], 1))
        x, final = layer.call(torch.cat([torch.where(active, x, 0), ended], -1), state)
        x = torch.where(active, x, 0)
        h_n = x[..., :H].gather(0, last.expand(-1, H).unsqueeze(0))  # of the forward direction
        return x, (torch.cat([h_n, final[0][1:]]) if D == 2 else h_n, *final[1:])

    return network.layer_by_layer(run, x, states, drop)
