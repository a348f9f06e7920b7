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
    """A multi-layer long short-term memory: a drop-in for `torch.nn.LSTM`.

    From its input x and its states h and c of the step before, every layer and direction computes at each step::

        i  = sigmoid(W_ii x + b_ii + W_hi h + b_hi)         input gate
        f  = sigmoid(W_if x + b_if + W_hf h + b_hf)         forget gate
        g  = tanh(W_ig x + b_ig + W_hg h + b_hg)            candidate
        o  = sigmoid(W_io x + b_io + W_ho h + b_ho)         output gate
        c' = f * c + i * g
        h' = o * tanh(c')                                   with a projection W_hr (o * tanh(c'))

    Hochreiter & Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers, Schmidhuber & Cummins, "Learning to
    forget" (2000), and the projection of Sak, Senior & Beaufays (2014, arXiv:1402.1128).

    A layer above the first reads the output of the layer below, both directions concatenated. Parameters, their names and their
    initialisation are those of `torch.nn.LSTM`: the same seed gives the same values, and state_dicts load both ways.

    Args:
        input_size: I, the number of features of a step, or of token ids.
        hidden_size: H, the number of units of a layer and direction.
        num_layers: L, the number of layers. Default: 1.
        bias: whether there are biases, b_ih and b_hh. Default: True.
        batch_first: whether input and output are (B, T, ...) and not (T, B, ...); the states are (L*D, B, ...) with both.
            Default: False.
        dropout: probability of dropping an element of the output of every layer but the last, in training. Default: 0.
        bidirectional: whether a second direction reads the steps from the last to the first. Default: False.
        proj_size: P, the width of h where it is projected, below H; 0 for no projection, then P is H. Default: 0.
        device: where the parameters are made. Default: None, torch's default device.
        dtype: floating-point type of the parameters. Default: None, torch's default dtype.
        **options: the keyword arguments below; more about each in `FusedGRU`.

    Keyword Args:
        backend: "auto", "reference", "aten" or "triton". Default: None, see `FusedGRU`.
        variational: whether all time steps share a dropout mask. Default: False.
        input_dropout: probability of dropping an element of the input, in training. Default: 0.
        weight_dropout: probability of dropping an element of `weight_hh`, once per call, in training. Default: 0.
        zoneout: probability that a unit keeps its h of the step before, or a pair, for h and c; 0 with proj_size. Default: 0.
        recurrent_dropout: probability of dropping an element of the candidate g, in training. Default: 0.
        heads: N, blocks of H / N units that do not see each other's state; 1 with proj_size. Default: 1.
        layer_norm: whether the input side, the recurrent product, and c before its tanh are normalised; not with proj_size or
            heads. Default: False.
        memory: "save", or "recompute" to save no gates for the backward, with equal results. Default: "save".

    Shape:
        T steps, B samples, I = input_size, H = hidden_size, P = proj_size or H, L = num_layers, D = 2 if bidirectional else 1.

        - input: (T, B, I), or (B, T, I) with batch_first; (T, I) unbatched; a `PackedSequence`; a jagged nested tensor (B, j, I).
          Token ids, int64 or int32, lack the last dimension and stand for one-hot rows of width I.
        - hx and (h_n, c_n): pairs of (L*D, B, P) and (L*D, B, H), or (L*D, P) and (L*D, H) unbatched; direction d of layer k is in
          row k * D + d.
        - output: as the input, with D*P features; the first P are those of the first direction.

    Attributes:
        weight_ih_l[k]: W_ii, W_if, W_ig and W_io of layer k, (4*H, I), or (4*H, D*P) where k > 0. The second direction's name ends
            in _reverse, as do those of the others.
        weight_hh_l[k]: W_hi, W_hf, W_hg and W_ho, (4*H, P), or with heads (N, 4*H/N, H/N).
        bias_ih_l[k]: b_ii, b_if, b_ig and b_io, (4*H,).
        bias_hh_l[k]: b_hi, b_hf, b_hg and b_ho, (4*H,).
        weight_hr_l[k]: W_hr, (P, H); only with proj_size.
        gain_ih_l[k]: factors of the normalised input side, (4*H,); only with layer_norm, as the next three.
        gain_hh_l[k]: factors of the normalised recurrent product, (4*H,).
        gain_c_l[k]: factors of the normalised c, (H,).
        bias_c_l[k]: what is added to it, (H,).

    Raises:
        TypeError: an argument has the wrong type, or its name is unknown.
        ValueError: a value is out of range, the backend does not exist, or options cannot be combined.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedLSTM
        >>> lstm = FusedLSTM(input_size=8, hidden_size=16, batch_first=True, bidirectional=True)
        >>> output, (h_n, c_n) = lstm(torch.randn(3, 20, 8), lengths=[20, 7, 12])
        >>> output.shape, h_n.shape, c_n.shape
        (torch.Size([3, 20, 32]), torch.Size([2, 3, 16]), torch.Size([2, 3, 16]))
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
        """Make the layers and draw their parameters, as `torch.nn.LSTM` does. Arguments and errors: see the class."""
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
        """Run the layers.

        Args:
            input: a sequence for each sample; see Shape of the class.
            hx: (h_0, c_0); None for zeros.
            lengths: steps of each sample, (B,), from 1 to T, in any order: a list, or int32 or int64 on the input's device. Past
                them the input is not read, and the output is zero. None for T steps, and for an input that is packed, nested or
                unbatched.
            return_all_states: whether to return the states of every layer and step too.
            resets: bool, of the shape of the input without features, or packed as the input is. Where it is True, the sample starts
                anew from its initial state before this step, as for a new episode; nothing flows across. The second direction
                starts anew after it has passed the step. None for no resets, and for a nested input.

        Returns:
            output and (h_n, c_n), and with `return_all_states` a tuple with one entry per layer, (h, c) at every step, laid out as
            the output, before dropout. The output is packed or nested if the input is, then with its offsets.

        Raises:
            TypeError: an argument is not of a type above.
            ValueError: a dtype, a number of dimensions or a length is wrong.
            RuntimeError: a size or a device is wrong, or there is no step.
            IndexError: a token id is out of range.
            BackendUnavailableError: the backend that was asked for cannot run the call.
        """
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
