"""Trainable initial states of a recurrent module, shared by all samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, overload

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import validation
from fusedrnn.context import traced_as_leaf
from fusedrnn.init import gates_of
from fusedrnn.validation import IDS

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from fusedrnn.modules.cells import FusedGRUCell, FusedLSTMCell, FusedRNNCell
    from fusedrnn.modules.rnn import FusedGRU, FusedLSTM, FusedRNN
    from fusedrnn.types import typed_as

    WithC: TypeAlias = nn.LSTM | nn.LSTMCell | FusedLSTM | FusedLSTMCell
    WithoutC: TypeAlias = nn.GRU | nn.GRUCell | nn.RNN | nn.RNNCell | FusedGRU | FusedGRUCell | FusedRNN | FusedRNNCell
    State = TypeVar("State", default=Any)
else:
    from typing import TypeVar

    State = TypeVar("State")


class InitialState(nn.Module, Generic[State]):
    """The initial state h_0, and c_0 for an LSTM, expanded to the batch of an input: `gru(x, initial(x))`.

    The states start as zeros, the default of the module, and are learnt by gradient descent (Pitis, "Non-zero initial states for
    recurrent neural networks", 2016).

    Args:
        module: a GRU, LSTM, RNN or a cell of these, ours or torch.nn's; only its sizes, dtype and device are read.
        learnable: True for parameters, False for buffers, which are also in the state_dict and can be set. Default: True.

    Shape:
        - input: what `module` takes, batched or not.
        - result: hx as `module` takes it: h_0 (L*D, B, P), or (h_0, c_0) of an LSTM, (L*D, B, H); without B for unbatched input.

    Attributes:
        h_0: (L*D, P); (H,) for a cell.
        c_0: (L*D, H); (H,) for a cell; None without a cell state.

    Raises:
        TypeError: `module` is not recurrent.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedLSTM, InitialState
        >>> lstm, x = FusedLSTM(8, 16), torch.randn(20, 3, 8)
        >>> initial = InitialState(lstm)
        >>> output, states = lstm(x, initial(x))
        >>> states = initial.reset(states, torch.tensor([True, False, False]))  # the first sample starts anew
        >>> [tuple(state.shape) for state in states]
        [(1, 3, 16), (1, 3, 16)]
    """

    h_0: Tensor
    c_0: Tensor | None

    @overload
    def __init__(self: InitialState[tuple[Tensor, Tensor]], module: WithC, *, learnable: bool = True) -> None: ...
    @overload
    def __init__(self: InitialState[Tensor], module: WithoutC, *, learnable: bool = True) -> None: ...
    @overload
    def __init__(self, module: nn.RNNBase | nn.modules.rnn.RNNCellBase, *, learnable: bool = True) -> None: ...
    def __init__(self, module: nn.Module, *, learnable: bool = True) -> None:
        """Make zero states for the sizes of `module`. Arguments and errors: see the class."""
        super().__init__()
        if not isinstance(module, (nn.RNNBase, nn.modules.rnn.RNNCellBase)):
            raise TypeError(f"module: expected a recurrent module, got {type(module).__name__}")
        self.is_cell = not isinstance(module, nn.RNNBase)
        self.batch_first = not self.is_cell and bool(module.batch_first)
        weight = next(module.parameters())
        gates = gates_of(module)
        rows = (
            ()
            if isinstance(module, nn.modules.rnn.RNNCellBase)
            else (module.num_layers * (1 + bool(module.bidirectional)),)
        )
        widths = {"h_0": int(getattr(module, "proj_size", 0)) or int(module.hidden_size)}
        widths["c_0"] = int(module.hidden_size)
        for name, width in widths.items():
            value = None if name == "c_0" and gates != 4 else weight.new_zeros(*rows, width).detach()
            if learnable:
                self.register_parameter(name, None if value is None else nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, input: Tensor | PackedSequence) -> State:
        """Expand the states, without a copy, to the batch of `input`.

        Args:
            input: what the module takes: a tensor, token ids or a PackedSequence, batched or not.

        Returns:
            hx as the module takes it, h_0 (L*D, B, P) or (h_0, c_0); without the dimension B for unbatched input.
        """
        if isinstance(input, Proxy):
            return traced_as_leaf(self, input)
        batch = self._batch(input)
        h = self._expanded(self.h_0, batch)
        result: Any = h if self.c_0 is None else (h, self._expanded(self.c_0, batch))
        return result  # type: ignore[no-any-return]

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call `forward`, and the hooks."""

    def reset(self, hx: State, done: Tensor) -> State:
        """Start samples anew between two calls, as an environment of reinforcement learning does when an episode ends.

        Args:
            hx: states as the module returns them.
            done: bool, (B,), or () for states without the dimension B; where it is True, the states become the initial ones.

        Returns:
            New states, shaped as `hx`. From a sample that starts anew no gradient reaches its states in `hx`, but h_0 and c_0.

        Raises:
            TypeError: `hx` has not the form that the module takes.
            ValueError: a state or `done` has the wrong shape, or `done` is not bool.
        """
        pair = self.c_0 is not None
        if pair:
            validation.check_pair(hx)
        else:
            validation.check_tensor("hx", hx)
        validation.check_tensor("done", done)
        states: Any = hx if pair else (hx,)
        if done.dtype != torch.bool:
            raise ValueError(f"done: expected torch.bool, got {done.dtype}")
        found = [self._where(done, own, state) for own, state in zip((self.h_0, self.c_0), states, strict=False)]
        result: Any = tuple(found) if pair else found[0]
        return result  # type: ignore[no-any-return]

    def _where(self, done: Tensor, own: Any, state: Tensor) -> Tensor:
        """`own` in the place of `state` where `done`."""
        batch = state.shape[:-1] if self.is_cell else state.shape[1:-1]
        if (*own.shape[:-1], *batch, own.shape[-1]) != tuple(state.shape):
            expected = f"{(*own.shape[:-1], 'B', own.shape[-1])}, or without B"
            raise ValueError(f"hx: expected shape {expected}, got {tuple(state.shape)}")
        if done.shape != batch:
            raise ValueError(f"done: expected shape {tuple(batch)}, got {tuple(done.shape)}")
        fresh = self._expanded(own, batch[0] if batch else None).to(state.dtype)
        return torch.where(done.unsqueeze(-1), fresh, state)

    def _batch(self, input: Any) -> int | None:
        if isinstance(input, PackedSequence):
            return int(input.batch_sizes[0]) if input.sorted_indices is None else len(input.sorted_indices)
        rank = input.dim() + (input.dtype in IDS)
        if self.is_cell:
            return None if rank == 1 else input.shape[0]
        return None if rank == 2 else input.shape[0 if self.batch_first else 1]

    def _expanded(self, state: Tensor, batch: int | None) -> Tensor:
        if batch is None:
            return state
        return state.unsqueeze(-2).expand(*state.shape[:-1], batch, state.shape[-1])

    def extra_repr(self) -> str:
        """The shapes of the states."""
        return ", ".join(f"{n}={tuple(t.shape)}" for n in ("h_0", "c_0") if (t := getattr(self, n)) is not None)
