"""FusedRNN, a drop-in replacement for torch.nn.RNN."""

from __future__ import annotations

from typing import Unpack

import torch

from fusedrnn import option_checks
from fusedrnn.modules.base import Options
from fusedrnn.modules.without_c import WithoutC
from fusedrnn.types import Device, Nonlinearity


class FusedRNN(WithoutC):
    """Drop-in for `torch.nn.RNN`; formulas, shapes, dtypes and errors: `functional.rnn`.

    Args:
        input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional, device, dtype: as for
            `torch.nn.RNN`; the same seed gives the same parameters, and state_dicts can be loaded both ways.
        **options: as for `FusedGRU`.

    `forward(input, hx=None, lengths=None)` is that of `FusedGRU`.
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
