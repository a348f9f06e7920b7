"""FusedGRU, a drop-in replacement for torch.nn.GRU."""

from __future__ import annotations

from typing import Unpack

import torch

from fusedrnn import option_checks
from fusedrnn.modules.base import Options
from fusedrnn.modules.without_c import WithoutC
from fusedrnn.types import Device


class FusedGRU(WithoutC):
    """A multi-layer gated recurrent unit: a drop-in for `torch.nn.GRU`.

    From its input x and its state h of the step before, every layer and direction computes at each step::

        r  = sigmoid(W_ir x + b_ir + W_hr h + b_hr)         reset gate
        z  = sigmoid(W_iz x + b_iz + W_hz h + b_hz)         update gate
        n  = tanh(W_in x + b_in + r * (W_hn h + b_hn))      candidate
        h' = (1 - z) * n + z * h

    This is the GRU of torch.nn and cuDNN. `reset_after=False` selects the one that it is a variant of, in which the reset gate acts
    before the recurrent product (Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", 2014, arXiv:1406.1078)::

        n  = tanh(W_in x + b_in + W_hn (r * h) + b_hn)

    A layer above the first reads the output of the layer below, both directions concatenated. Parameters, their names and their
    initialisation are those of `torch.nn.GRU`: the same seed gives the same values, and state_dicts load both ways.

    Args:
        input_size: I, the number of features of a step, or of token ids.
        hidden_size: H, the number of units of a layer and direction.
        num_layers: L, the number of layers. Default: 1.
        bias: whether there are biases, b_ih and b_hh. Default: True.
        batch_first: whether input and output are (B, T, ...) and not (T, B, ...); the states are (L*D, B, ...) with both.
            Default: False.
        dropout: probability of dropping an element of the output of every layer but the last, in training. Default: 0.
        bidirectional: whether a second direction reads the steps from the last to the first. Default: False.
        device: where the parameters are made. Default: None, torch's default device.
        dtype: floating-point type of the parameters. Default: None, torch's default dtype.
        reset_after: whether the reset gate acts after the recurrent product, see above. Default: True.
        **options: the keyword arguments below.

    Keyword Args:
        backend: "auto", "reference", "aten" or "triton". Default: None, which leaves the choice to `use_backend` and
            FUSEDRNN_BACKEND, and without these is "auto": on a GPU the faster of "triton" and "aten", measured once.
        variational: whether all time steps share the masks of `dropout`, `input_dropout` and `recurrent_dropout` (Gal & Ghahramani,
            "A theoretically grounded application of dropout in recurrent neural networks", 2016). Default: False.
        input_dropout: probability of dropping an element of a floating-point input, in training. Default: 0.
        weight_dropout: probability of dropping an element of `weight_hh`, drawn once per call, in training (DropConnect as in
            AWD-LSTM: Merity et al., "Regularizing and optimizing LSTM language models", 2018). Default: 0.
        zoneout: probability that a unit keeps its h of the step before; of an LSTM also a pair for h and c. At random in training,
            the expectation in evaluation (Krueger et al., "Zoneout", 2017); from 0 to below 1. Default: 0.
        recurrent_dropout: probability of dropping an element of the candidate, n or g, in training (Semeniuta et al., "Recurrent
            dropout without memory loss", 2016); from 0 to below 1, and not for `FusedRNN`. Default: 0.
        heads: N, blocks of H / N units that do not see each other's state: `weight_hh` are (N, G*H/N, H/N), with G gates. All
            weights are drawn as those of a layer of H / N units. Default: 1.
        layer_norm: whether the input side, the recurrent product and, of an LSTM, c before its tanh are normalised (Ba et al.,
            "Layer normalization", 2016, see `reference.norm`). Not with reset_after=False, proj_size or heads. Default: False.
        memory: "save" saves the gates of every step for the backward; "recompute" saves only the states, and computes the gates
            again with one product over all steps, with equal results. Default: "save".

    Shape:
        T steps, B samples, I = input_size, H = hidden_size, L = num_layers, D = 2 if bidirectional else 1.

        - input: (T, B, I), or (B, T, I) with batch_first; (T, I) unbatched; a `PackedSequence`; a jagged nested tensor (B, j, I).
          Token ids, int64 or int32, lack the last dimension and stand for one-hot rows of width I.
        - hx and h_n: (L*D, B, H), or (L*D, H) unbatched; direction d of layer k is in row k * D + d.
        - output: as the input, with D*H features; the first H are those of the first direction.

    Attributes:
        weight_ih_l[k]: W_ir, W_iz and W_in of layer k, (3*H, I), or (3*H, D*H) where k > 0. The second direction's name ends in
            _reverse, as do those of the others.
        weight_hh_l[k]: W_hr, W_hz and W_hn, (3*H, H), or with heads (N, 3*H/N, H/N).
        bias_ih_l[k]: b_ir, b_iz and b_in, (3*H,).
        bias_hh_l[k]: b_hr, b_hz and b_hn, (3*H,).
        gain_ih_l[k]: factors of the normalised input side, (3*H,); only with layer_norm.
        gain_hh_l[k]: factors of the normalised recurrent product, (3*H,); only with layer_norm.

    Raises:
        TypeError: an argument has the wrong type, or its name is unknown.
        ValueError: a value is out of range, the backend does not exist, or options cannot be combined.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedGRU
        >>> gru = FusedGRU(input_size=8, hidden_size=16, num_layers=2)
        >>> output, h_n = gru(torch.randn(20, 3, 8), lengths=[20, 7, 12])
        >>> output.shape, h_n.shape
        (torch.Size([20, 3, 16]), torch.Size([2, 3, 16]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        reset_after: bool = True,
        **options: Unpack[Options],
    ) -> None:
        """Make the layers and draw their parameters, as `torch.nn.GRU` does. Arguments and errors: see the class."""
        self._check_options("FusedGRU", options)
        option_checks.check_dropout(dropout)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.reset_after = option_checks.check_flag("reset_after", reset_after)
        self._set_options(**options)

    @property
    def _cell(self) -> str:
        """The value of `Spec.cell`."""
        return "gru" if self.reset_after else "gru_before"

    def extra_repr(self) -> str:
        """Add `reset_after`, if it is False, to the text of torch.nn."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")
