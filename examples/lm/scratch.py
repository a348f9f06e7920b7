"""The plain recurrent net of Elman (1990), run by the textbook loop."""

import torch
from torch import Tensor, nn

from fusedrnn.reference.stack import LayerWeights, layer_of, run_layers
from fusedrnn.reference.sweep import rnn_sweep


class ScratchRNN(nn.Module):
    """h' = tanh(W_ih x + W_hh h + b), layer on layer, over characters.

    Called like the fused modules: ids (steps, batch) int64 and h0 (layers, batch, hidden) or None give
    the outputs (steps, batch, hidden) and the last h.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_size, *[hidden_size] * (num_layers - 1)]
        self.weight_ih = nn.ParameterList(torch.empty(hidden_size, width) for width in widths)
        self.weight_hh = nn.ParameterList(torch.empty(hidden_size, hidden_size) for _ in widths)
        self.bias = nn.ParameterList(torch.empty(hidden_size) for _ in widths)

    def forward(self, ids: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run all layers over all steps."""
        layers = [
            [LayerWeights(w_ih, w_hh, b, None, None)]
            for w_ih, w_hh, b in zip(self.weight_ih, self.weight_hh, self.bias, strict=True)
        ]
        if h0 is None:
            h0 = self.bias[0].new_zeros(len(layers), ids.shape[1], len(self.bias[0]))
        output, (last,), _ = run_layers(layer_of(_sweep), ids, (h0,), layers)
        return output, last


def _sweep(
    gx: Tensor,
    states: tuple[Tensor, ...],
    w_hh: Tensor,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    lengths: Tensor | None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    output, last = rnn_sweep(gx, states[0], w_hh, b_hh, lengths)
    return (output,), (last,)
