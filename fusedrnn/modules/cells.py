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
        """Run one step.

        Args:
            input: features or token ids; see Shape of the class.
            hx: h; None for zeros.

        Returns:
            h', shaped as hx.

        Raises:
            TypeError: an argument is not of a type above.
            ValueError: a dtype or a number of dimensions is wrong.
            RuntimeError: a size or a device is wrong.
            IndexError: a token id is out of range.
            BackendUnavailableError: the backend that was asked for cannot run the step.
        """
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
    """One step of a GRU: a drop-in for `torch.nn.GRUCell`. The formulas and their sources are those of `FusedGRU`.

    Args:
        input_size: I, the number of features, or of token ids.
        hidden_size: H, the number of units.
        bias: whether there are biases, b_ih and b_hh. Default: True.
        device: where the parameters are made. Default: None, torch's default device.
        dtype: floating-point type of the parameters. Default: None, torch's default dtype.
        backend: "auto", "reference", "aten" or "triton". Default: None, which leaves the choice to `use_backend` and
            FUSEDRNN_BACKEND.
        reset_after: whether the reset gate acts after the recurrent product; see `FusedGRU`. Default: True.

    Shape:
        - input: (B, I), or (I,) unbatched. Token ids, int64 or int32, lack the last dimension and stand for one-hot rows.
        - hx and the result: (B, H), or (H,) unbatched.

    Attributes:
        weight_ih: W_ir, W_iz and W_in, (3*H, I).
        weight_hh: W_hr, W_hz and W_hn, (3*H, H).
        bias_ih: b_ir, b_iz and b_in, (3*H,); None without bias.
        bias_hh: b_hr, b_hz and b_hn, (3*H,); None without bias.

    Raises:
        TypeError: an argument has the wrong type, or its name is unknown.
        ValueError: the backend does not exist.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedGRUCell
        >>> cell, h = FusedGRUCell(8, 16), torch.zeros(3, 16)
        >>> for x in torch.randn(20, 3, 8):
        ...     h = cell(x, h)
        >>> h.shape
        torch.Size([3, 16])
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
        """Make the cell and draw its parameters, as `torch.nn.GRUCell` does. Arguments and errors: see the class."""
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
    """One step of an LSTM: a drop-in for `torch.nn.LSTMCell`. The formulas and their sources are those of `FusedLSTM`.

    Args:
        input_size: I, the number of features, or of token ids.
        hidden_size: H, the number of units.
        bias: whether there are biases, b_ih and b_hh. Default: True.
        device: where the parameters are made. Default: None, torch's default device.
        dtype: floating-point type of the parameters. Default: None, torch's default dtype.
        backend: "auto", "reference", "aten" or "triton". Default: None, which leaves the choice to `use_backend` and
            FUSEDRNN_BACKEND.

    Shape:
        - input: (B, I), or (I,) unbatched. Token ids, int64 or int32, lack the last dimension and stand for one-hot rows.
        - hx and the result: pairs h and c, each (B, H), or (H,) unbatched.

    Attributes:
        weight_ih: W_ii, W_if, W_ig and W_io, (4*H, I).
        weight_hh: W_hi, W_hf, W_hg and W_ho, (4*H, H).
        bias_ih: b_ii, b_if, b_ig and b_io, (4*H,); None without bias.
        bias_hh: b_hi, b_hf, b_hg and b_ho, (4*H,); None without bias.

    Raises:
        TypeError: an argument has the wrong type, or its name is unknown.
        ValueError: the backend does not exist.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedLSTMCell
        >>> cell, states = FusedLSTMCell(8, 16), None
        >>> for x in torch.randn(20, 3, 8):
        ...     states = cell(x, states)
        >>> h, c = states
        >>> h.shape, c.shape
        (torch.Size([3, 16]), torch.Size([3, 16]))
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
        """Make the cell and draw its parameters, as `torch.nn.LSTMCell` does. Arguments and errors: see the class."""
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)
        self.backend = None if backend is None else check_name(backend)

    _cell = "lstm"

    def forward(self, input: Tensor, hx: StatePair | None = None) -> tuple[Tensor, Tensor]:
        """Run one step.

        Args:
            input: features or token ids; see Shape of the class.
            hx: (h, c); None for zeros.

        Returns:
            (h', c'), shaped as hx.

        Raises:
            TypeError: an argument is not of a type above.
            ValueError: a dtype or a number of dimensions is wrong.
            RuntimeError: a size or a device is wrong.
            IndexError: a token id is out of range.
            BackendUnavailableError: the backend that was asked for cannot run the step.
        """
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
    """One step of a vanilla RNN: a drop-in for `torch.nn.RNNCell`. The formula and its source are those of `FusedRNN`.

    Args:
        input_size: I, the number of features, or of token ids.
        hidden_size: H, the number of units.
        bias: whether there are biases, b_ih and b_hh. Default: True.
        nonlinearity: "tanh" or "relu". Default: "tanh".
        device: where the parameters are made. Default: None, torch's default device.
        dtype: floating-point type of the parameters. Default: None, torch's default dtype.
        backend: "auto", "reference", "aten" or "triton". Default: None, which leaves the choice to `use_backend` and
            FUSEDRNN_BACKEND.

    Shape:
        - input: (B, I), or (I,) unbatched. Token ids, int64 or int32, lack the last dimension and stand for one-hot rows.
        - hx and the result: (B, H), or (H,) unbatched.

    Attributes:
        weight_ih: W_ih, (H, I).
        weight_hh: W_hh, (H, H).
        bias_ih: b_ih, (H,); None without bias.
        bias_hh: b_hh, (H,); None without bias.

    Raises:
        TypeError: an argument has the wrong type, or its name is unknown.
        ValueError: the backend does not exist, or the nonlinearity, which torch.nn checks in the forward only.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedRNNCell
        >>> cell = FusedRNNCell(8, 16, nonlinearity="relu")
        >>> cell(torch.randn(3, 8)).shape
        torch.Size([3, 16])
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
        """Make the cell and draw its parameters, as `torch.nn.RNNCell` does. Arguments and errors: see the class."""
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
