"""FusedGRU, a drop-in replacement for torch.nn.GRU."""

from __future__ import annotations

from typing import Unpack

import torch

from fusedrnn import option_checks
from fusedrnn.modules.base import Options
from fusedrnn.modules.without_c import WithoutC
from fusedrnn.types import Device


class FusedGRU(WithoutC):
    """Drop-in for `torch.nn.GRU`; formulas, shapes, dtypes and errors: `functional.gru`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as for `torch.nn.GRU`;
            the same seed gives the same parameters, and state_dicts can be loaded both ways.
        reset_after: False for the GRU of Cho et al. (2014), whose reset gate acts before the recurrent product. Default: True.
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
        heads: N, blocks of H / N units that do not see each other's state: `weight_hh` are (N, G*H/N, H/N). All weights are drawn
            as those of a layer of H / N units. Default: 1.
        layer_norm: whether the input side, the recurrent product and, of an LSTM, c before its tanh are normalised (Ba et al.,
            "Layer normalization", 2016, see `reference.norm`), with parameters `gain_ih`, `gain_hh`, and `gain_c` and `bias_c` of
            an LSTM in each layer and direction. Not with reset_after=False, proj_size or heads. Default: False.
        memory: "save", or "recompute" to save no gates for the backward: see `functional.gru`. Default: "save".

    `forward(input, hx=None, lengths=None)` takes what `torch.nn.GRU` takes, and also token ids: int64 or int32 (T, B), or (B, T)
    with batch_first, (T,) unbatched or packed; they stand for one-hot rows of width input_size. `lengths` (B,) are the steps of
    each sample; past them the input is not read, and the output is zero. A jagged nested tensor is (B, j, I), or token ids
    (B, j), whatever `batch_first` is, with samples of 1 or more steps; it runs without padding, and the output is jagged with its
    offsets, so that both can be added.

    `resets=`, bool, has the shape of the input without features, or is packed as the input is. Where it is True, the sample starts
    anew from its initial state before this step, as for a new episode; nothing flows across, and the initial state gets a
    gradient. The second direction starts anew after it has passed the step.

    Returns output and h_n, and with `return_all_states=True` a third value: a tuple with one entry per layer, h at every step, laid
    out as the output (packed or jagged if it is), before dropout.
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
