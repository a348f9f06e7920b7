"""FusedRNN, a drop-in replacement for torch.nn.RNN."""

from __future__ import annotations

from typing import Unpack

import torch

from fusedrnn import option_checks
from fusedrnn.modules.base import Options
from fusedrnn.modules.without_c import WithoutC
from fusedrnn.types import Device, Nonlinearity


class FusedRNN(WithoutC):
    """A multi-layer vanilla recurrent network: a drop-in for `torch.nn.RNN`.

    From its input x and its state h of the step before, every layer and direction computes at each step::

        h' = tanh(W_ih x + b_ih + W_hh h + b_hh)            or max(., 0) in the place of tanh

    Elman, "Finding structure in time" (1990). With ReLU nothing bounds h.

    A layer above the first reads the output of the layer below, both directions concatenated. Parameters, their names and their
    initialisation are those of `torch.nn.RNN`: the same seed gives the same values, and state_dicts load both ways.

    Args:
        input_size: I, the number of features of a step, or of token ids.
        hidden_size: H, the number of units of a layer and direction.
        num_layers: L, the number of layers. Default: 1.
        nonlinearity: "tanh" or "relu". Default: "tanh".
        bias: whether there are biases, b_ih and b_hh. Default: True.
        batch_first: whether input and output are (B, T, ...) and not (T, B, ...); the states are (L*D, B, ...) with both.
            Default: False.
        dropout: probability of dropping an element of the output of every layer but the last, in training. Default: 0.
        bidirectional: whether a second direction reads the steps from the last to the first. Default: False.
        device: where the parameters are made. Default: None, torch's default device.
        dtype: floating-point type of the parameters. Default: None, torch's default dtype.
        **options: the keyword arguments below; more about each in `FusedGRU`.

    Keyword Args:
        backend: "auto", "reference", "aten" or "triton". Default: None, see `FusedGRU`.
        variational: whether all time steps share a dropout mask. Default: False.
        input_dropout: probability of dropping an element of the input, in training. Default: 0.
        weight_dropout: probability of dropping an element of `weight_hh`, once per call, in training. Default: 0.
        zoneout: probability that a unit keeps its h of the step before. Default: 0.
        recurrent_dropout: 0, for there is no candidate whose elements could be dropped. Default: 0.
        heads: N, blocks of H / N units that do not see each other's state. Default: 1.
        layer_norm: whether the input side and the recurrent product are normalised; not with heads. Default: False.
        memory: "save", or "recompute" to save only the states for the backward, with equal results. Default: "save".

    Shape:
        As of `FusedGRU`.

    Attributes:
        weight_ih_l[k]: W_ih of layer k, (H, I), or (H, D*H) where k > 0. The second direction's name ends in _reverse, as do those
            of the others.
        weight_hh_l[k]: W_hh, (H, H), or with heads (N, H/N, H/N).
        bias_ih_l[k]: b_ih, (H,).
        bias_hh_l[k]: b_hh, (H,).
        gain_ih_l[k]: factors of the normalised input side, (H,); only with layer_norm.
        gain_hh_l[k]: factors of the normalised recurrent product, (H,); only with layer_norm.

    Raises:
        TypeError: an argument has the wrong type, or its name is unknown.
        ValueError: a value is out of range, the backend does not exist, or options cannot be combined.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedRNN
        >>> rnn = FusedRNN(input_size=8, hidden_size=16, nonlinearity="relu")
        >>> output, h_n = rnn(torch.randn(20, 3, 8))
        >>> output.shape, h_n.shape
        (torch.Size([20, 3, 16]), torch.Size([1, 3, 16]))
    """

    _has_quantized = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Make the layers and draw their parameters, as `torch.nn.RNN` does. Arguments and errors: see the class."""
        self._check_options("FusedRNN", options)
        option_checks.check_dropout(dropout)
        self.nonlinearity = option_checks.check_nonlinearity(nonlinearity)
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self._set_options(**options)

    @property
    def _cell(self) -> str:
        """The value of `Spec.cell`."""
        cell: str = self.mode.lower()
        return cell
