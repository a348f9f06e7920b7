"""FusedGRU, FusedLSTM and FusedRNN: drop-in replacements for torch.nn's GRU, LSTM and RNN."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor, nn
from torch.fx import Proxy

from fusedrnn import option_checks, validation
from fusedrnn.context import traced_as_leaf
from fusedrnn.modules.base import FusedRNNBase, Options


def _check_options(name: str, options: Options) -> None:
    """Raise a ValueError for `proj_size`, which only an LSTM has, and the errors of `validation.check_options`."""
    if "proj_size" in options:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    validation.check_options(name, options, Options)


class _WithoutC(FusedRNNBase):
    """Base class of the layers whose only state is h."""

    def forward(
        self,
        input: Any,
        hx: Tensor | None = None,
        lengths: Tensor | None = None,
        return_all_states: bool = False,
        resets: Any = None,
    ) -> tuple[Any, ...]:
        """Run the layers. Returns the output, h_n and, if requested, h of every layer and step."""
        if isinstance(input, Proxy):
            options = {"lengths": lengths, "return_all_states": return_all_states, "resets": resets}
            return traced_as_leaf(self, input, hx, **options)  # type: ignore[no-any-return]
        if hx is not None:
            validation.check_tensor("hx", hx)
        output, (h_n,), *every = self._forward(input, () if hx is None else (hx,), lengths, return_all_states, resets)
        return (output, h_n, tuple(h for (h,) in every[0])) if return_all_states else (output, h_n)


class FusedGRU(_WithoutC):
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
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        **options: Unpack[Options],
    ) -> None:
        _check_options("FusedGRU", options)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.reset_after = reset_after
        self._set_options(**options)

    @property
    def _cell(self) -> str:
        """The value of `Spec.cell`."""
        return "gru" if self.reset_after else "gru_before"

    def extra_repr(self) -> str:
        """Add `reset_after`, if it is False, to the text of torch.nn."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class FusedLSTM(FusedRNNBase):
    """Drop-in for `torch.nn.LSTM`; formulas, shapes, dtypes and errors: `functional.lstm`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype: as for
            `torch.nn.LSTM`; the same seed gives the same parameters, and state_dicts can be loaded both ways.
        **options: as for `FusedGRU`.

    `forward(input, hx=None, lengths=None)` is that of `FusedGRU` with hx = (h_0, c_0). Returns output and (h_n, c_n), and with
    `return_all_states=True` a third value: a tuple with one entry per layer, (h, c) at every step, laid out as the output.
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
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[Options],
    ) -> None:
        validation.check_options("FusedLSTM", options, Options)
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )
        self._set_options(**options)

    _cell = "lstm"
    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    check_forward_args = nn.LSTM.check_forward_args  # type: ignore[assignment]
    permute_hidden = nn.LSTM.permute_hidden  # type: ignore[assignment]

    def forward(
        self,
        input: Any,
        hx: tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | None = None,
        return_all_states: bool = False,
        resets: Any = None,
    ) -> tuple[Any, ...]:
        """Run the layers. Returns the output, (h_n, c_n) and, if requested, (h, c) of every layer and step."""
        if isinstance(input, Proxy):
            options = {"lengths": lengths, "return_all_states": return_all_states, "resets": resets}
            return traced_as_leaf(self, input, hx, **options)  # type: ignore[no-any-return]
        if hx is not None:
            validation.check_pair(hx)
        return self._forward(input, () if hx is None else tuple(hx), lengths, return_all_states, resets)


class FusedRNN(_WithoutC):
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
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[Options],
    ) -> None:
        _check_options("FusedRNN", options)
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
