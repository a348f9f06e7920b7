"""FusedLSTM, a drop-in replacement for torch.nn.LSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import option_checks, validation
from fusedrnn.context import traced_as_leaf
from fusedrnn.modules.base import FusedRNNBase, Options
from fusedrnn.types import Device, Lengths, StatePair

if TYPE_CHECKING:
    from fusedrnn.types import typed_as

Pair = tuple[Tensor, Tensor]
"""h and c."""
PackedPair = tuple[PackedSequence, PackedSequence]


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
        device: Device = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[Options],
    ) -> None:
        validation.check_options("FusedLSTM", options, Options)
        option_checks.check_dropout(dropout)
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

    @overload
    def forward(
        self,
        input: Tensor,
        hx: StatePair | None = None,
        lengths: Lengths | None = None,
        return_all_states: Literal[False] = False,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Pair]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: StatePair | None = None,
        lengths: None = None,
        return_all_states: Literal[False] = False,
        resets: PackedSequence | None = None,
    ) -> tuple[PackedSequence, Pair]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: StatePair | None = None,
        lengths: Lengths | None = None,
        *,
        return_all_states: Literal[True],
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Pair, tuple[Pair, ...]]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: StatePair | None = None,
        lengths: None = None,
        *,
        return_all_states: Literal[True],
        resets: PackedSequence | None = None,
    ) -> tuple[PackedSequence, Pair, tuple[PackedPair, ...]]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: StatePair | None = None,
        lengths: Lengths | None = None,
        return_all_states: bool = False,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Pair] | tuple[Tensor, Pair, tuple[Pair, ...]]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: StatePair | None = None,
        lengths: None = None,
        return_all_states: bool = False,
        resets: PackedSequence | None = None,
    ) -> tuple[PackedSequence, Pair] | tuple[PackedSequence, Pair, tuple[PackedPair, ...]]: ...

    def forward(
        self,
        input: Any,
        hx: Any = None,
        lengths: Any = None,
        return_all_states: bool = False,
        resets: Any = None,
    ) -> Any:
        """Run the layers. Returns the output, (h_n, c_n) and, if requested, (h, c) of every layer and step."""
        if isinstance(input, Proxy):
            options = {"lengths": lengths, "return_all_states": return_all_states, "resets": resets}
            return traced_as_leaf(self, input, hx, **options)
        if hx is not None:
            validation.check_pair(hx)
        return self._forward(input, () if hx is None else tuple(hx), lengths, return_all_states, resets)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call `forward`, and the hooks."""
