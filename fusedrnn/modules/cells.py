"""FusedGRUCell, FusedLSTMCell and FusedRNNCell: drop-in replacements for torch.nn's GRUCell, LSTMCell and RNNCell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from fusedrnn import option_checks, validation
from fusedrnn.backends.choice import check_name
from fusedrnn.call import States
from fusedrnn.context import traced_as_leaf
from fusedrnn.modules.cell_base import FusedCell
from fusedrnn.types import Backend, Device, Nonlinearity, StatePair

if TYPE_CHECKING:
    from fusedrnn.types import typed_as


class _WithoutC(FusedCell):
    """Base class of the cells whose only state is h."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Run one step and return h'."""
        states = () if hx is None else (hx,)
        found = self._step_directly(input, states, 1)
        if found is None:
            if isinstance(input, Proxy):
                return traced_as_leaf(self, input, hx)
            if hx is not None:
                validation.check_tensor("hx", hx)
            found = self._forward(input, states, ("hidden",))
        return found[0]

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call `forward`, and the hooks."""


class FusedGRUCell(_WithoutC):
    """Drop-in for `torch.nn.GRUCell`; formulas: `functional.gru`.

    Args:
        input_size, hidden_size, bias, device, dtype: as for `torch.nn.GRUCell`; the same seed gives the same parameters.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.
        reset_after: False for the GRU of Cho et al. (2014), whose reset gate acts before the recurrent product.

    `forward(input, hx=None)` takes input (B, I) or (I,), or token ids, int64 or int32, (B,) or (), and hx (B, H) or (H,), zeros
    by default. It returns h', shaped as hx. Errors: ValueError for a wrong number of dimensions or dtype, RuntimeError for a
    wrong size or device, IndexError for a token id out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend | None = None,
        reset_after: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=3, device=device, dtype=dtype)
        self.backend = None if backend is None else check_name(backend)
        self.reset_after = option_checks.check_flag("reset_after", reset_after)

    @property
    def _cell(self) -> str:
        """The value of `Spec.cell`."""
        return "gru" if self.reset_after else "gru_before"

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        return (torch.gru_cell(input, states[0], *weights),)

    def extra_repr(self) -> str:
        """Add `reset_after`, if it is False, to the text of torch.nn."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class FusedLSTMCell(FusedCell):
    """Drop-in for `torch.nn.LSTMCell`; formulas: `functional.lstm`.

    Args:
        input_size, hidden_size, bias, device, dtype: as for `torch.nn.LSTMCell`; the same seed gives the same parameters.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.

    `forward(input, hx=None)` is that of `FusedGRUCell` with hx = (h, c); it returns (h', c').
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)
        self.backend = None if backend is None else check_name(backend)

    _cell = "lstm"

    def forward(self, input: Tensor, hx: StatePair | None = None) -> tuple[Tensor, Tensor]:
        """Run one step and return (h', c')."""
        found = None
        if hx is None or (isinstance(hx, tuple) and len(hx) == 2):
            found = self._step_directly(input, hx or (), 2)
        if found is None:
            if isinstance(input, Proxy):
                return traced_as_leaf(self, input, hx)
            if hx is not None:
                validation.check_pair(hx)
            found = self._forward(input, () if hx is None else tuple(hx), ("hx[0]", "hx[1]"))
        return found  # type: ignore[return-value]

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call `forward`, and the hooks."""

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        return torch.lstm_cell(input, states, *weights)


class FusedRNNCell(_WithoutC):
    """Drop-in for `torch.nn.RNNCell`; formulas: `functional.rnn`.

    Args:
        input_size, hidden_size, bias, nonlinearity, device, dtype: as for `torch.nn.RNNCell`; the same seed gives the same
            parameters. A nonlinearity that is neither "tanh" nor "relu" is a ValueError here, and not only in `forward`.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.

    `forward(input, hx=None)` is that of `FusedGRUCell`.
    """

    __constants__ = nn.RNNCell.__constants__

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.nonlinearity = option_checks.check_nonlinearity(nonlinearity)
        self.backend = None if backend is None else check_name(backend)

    @property
    def _cell(self) -> str:
        """The value of `Spec.cell`."""
        return f"rnn_{option_checks.check_nonlinearity(self.nonlinearity)}"

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        function = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return (function(input, states[0], *weights),)
