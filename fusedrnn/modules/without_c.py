"""The forward of the layers whose only state is h: FusedGRU and FusedRNN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import validation
from fusedrnn.context import traced_as_leaf
from fusedrnn.modules.base import FusedRNNBase, Options
from fusedrnn.types import Lengths

if TYPE_CHECKING:
    from fusedrnn.types import typed_as


class WithoutC(FusedRNNBase):
    """Base class of the layers whose only state is h."""

    @staticmethod
    def _check_options(name: str, options: Options) -> None:
        """Raise a ValueError for `proj_size`, which only an LSTM has, and the errors of `validation.check_options`."""
        if "proj_size" in options:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        validation.check_options(name, options, Options)

    @overload
    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        lengths: Lengths | None = None,
        return_all_states: Literal[False] = False,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: Tensor | None = None,
        lengths: None = None,
        return_all_states: Literal[False] = False,
        resets: PackedSequence | None = None,
    ) -> tuple[PackedSequence, Tensor]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        lengths: Lengths | None = None,
        *,
        return_all_states: Literal[True],
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: Tensor | None = None,
        lengths: None = None,
        *,
        return_all_states: Literal[True],
        resets: PackedSequence | None = None,
    ) -> tuple[PackedSequence, Tensor, tuple[PackedSequence, ...]]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: Tensor | None = None,
        lengths: Lengths | None = None,
        return_all_states: bool = False,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, tuple[Tensor, ...]]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: Tensor | None = None,
        lengths: None = None,
        return_all_states: bool = False,
        resets: PackedSequence | None = None,
    ) -> tuple[PackedSequence, Tensor] | tuple[PackedSequence, Tensor, tuple[PackedSequence, ...]]: ...

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
            hx: h_0; None for zeros.
            lengths: steps of each sample, (B,), from 1 to T, in any order: a list, or int32 or int64 on the input's device. Past
                them the input is not read, and the output is zero. None for T steps, and for an input that is packed, nested or
                unbatched.
            return_all_states: whether to return the states of every layer and step too.
            resets: bool, of the shape of the input without features, or packed as the input is. Where it is True, the sample starts
                anew from its initial state before this step, as for a new episode; nothing flows across. The second direction
                starts anew after it has passed the step. None for no resets, and for a nested input.

        Returns:
            output and h_n, and with `return_all_states` a tuple with one entry per layer, h at every step, laid out as the output,
            before dropout. The output is packed or nested if the input is, then with its offsets.

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
            validation.check_tensor("hx", hx)
        output, (h_n,), *every = self._forward(input, () if hx is None else (hx,), lengths, return_all_states, resets)
        return (output, h_n, tuple(h for (h,) in every[0])) if return_all_states else (output, h_n)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call `forward`, and the hooks."""
