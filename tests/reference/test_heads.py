"""Heads against as many separate layers of torch.nn, each on all of the input."""

import pytest
import torch
from torch import nn

from fusedrnn.reference.cells import SWEEPS
from fusedrnn.reference.heads import with_heads
from fusedrnn.reference.stack import LayerWeights, layer_of

T, B, I, H, N = 5, 3, 4, 6, 3
TORCH = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn_tanh": nn.RNN}


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 2, 4])], ids=["full", "lengths"])
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("cell", TORCH)
def test_each_head_is_a_layer_of_torch(cell, D, lengths):
    each = [TORCH[cell](I, H // N, bidirectional=D == 2).double() for _ in range(N)]
    G = each[0].weight_hh_l0.shape[0] // (H // N)
    x = torch.randn(T, B, I, dtype=torch.float64)
    states = [torch.randn(D, B, H, dtype=torch.float64) for _ in range(2 if cell == "lstm" else 1)]

    def joined(name, end):
        """The rows of all heads, gate by gate."""
        parts = [getattr(net, f"{name}_l0{end}").unflatten(0, (G, H // N)) for net in each]
        return torch.cat(parts, 1).flatten(0, 1)

    def direction(end):
        blocks = torch.stack([getattr(net, f"weight_hh_l0{end}") for net in each])
        return LayerWeights(joined("weight_ih", end), blocks, joined("bias_ih", end), joined("bias_hh", end))

    directions = [direction(end) for end in ("", "_reverse")[:D]]
    layer = with_heads(layer_of(SWEEPS[cell], heads=N), N, G)
    trace, finals = layer(x, tuple(states), directions, lengths)
    outputs, ends = [], []
    for k, net in enumerate(each):
        own = [state[..., k * H // N : (k + 1) * H // N].contiguous() for state in states]
        hx, rows = own[0] if len(own) == 1 else tuple(own), x
        if lengths is not None:
            rows = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, final = net(rows, hx)
        if lengths is not None:
            output, _ = nn.utils.rnn.pad_packed_sequence(output)
        outputs.append(output.unflatten(-1, (D, -1)))
        ends.append(final if isinstance(final, tuple) else (final,))
    torch.testing.assert_close(trace[0], torch.cat(outputs, -1))
    for got, parts in zip(finals, zip(*ends, strict=True), strict=True):
        torch.testing.assert_close(got, torch.cat(parts, -1))
