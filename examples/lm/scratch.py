"""The plain RNN of Elman (1990), run by the reference loop or by torch."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import one_hot

from fusedrnn.reference.stack import LayerWeights, layer_of, run_layers
from fusedrnn.reference.sweep import rnn_sweep


class ScratchRNN(nn.RNN):
    """Stacked layers of h' = tanh(W_ih x + b_ih + W_hh h + b_hh), with the parameters of `torch.nn.RNN`.

    Called like the fused modules with x, (steps, batch, input_size), or ids, (steps, batch) int64, and h0,
    (layers, batch, hidden_size), or None. Returns outputs, (steps, batch, hidden_size), and the last h of every layer.

    Args:
        input_size, hidden_size, num_layers: as for `torch.nn.RNN`.
        backend: "reference" or "auto" for the reference loop, "aten" for torch's. There is no kernel for this cell.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, backend: str = "auto") -> None:
        if backend not in ("auto", "reference", "aten"):
            raise ValueError(f"backend: expected auto, reference or aten for the plain RNN, got {backend}")
        super().__init__(input_size, hidden_size, num_layers)
        self.backend = backend

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run all layers over all steps."""
        dtype = self.weight_hh_l0.dtype
        if self.backend == "aten":
            return super().forward(x if x.is_floating_point() else one_hot(x, self.input_size).to(dtype), h0)
        return run_plain(x, h0, [LayerWeights(*w) for w in self.all_weights])


def run_plain(x: Tensor, h0: Tensor | None, layers: Sequence[LayerWeights]) -> tuple[Tensor, Tensor]:
    """Run plain layers by the reference loop; arguments and results as for `ScratchRNN`."""
    if h0 is None:
        w_hh = layers[0].w_hh
        h0 = w_hh.new_zeros(len(layers), x.shape[1], len(w_hh))
    output, (last,), _ = run_layers(layer_of(_sweep), x, (h0,), [[layer] for layer in layers])
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
