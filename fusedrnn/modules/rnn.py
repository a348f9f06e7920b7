"""FusedGRU and FusedLSTM: torch.nn's GRU and LSTM by name, argument, parameter and result.

They subclass `nn.RNNBase`, which owns parameters, initialisation, state_dict and introspection, but not `nn.GRU` and `nn.LSTM`,
which torch.compile refuses to trace whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import functional, validation
from fusedrnn.backends import direct
from fusedrnn.backends.choice import check_name
from fusedrnn.context import traced_as_leaf
from fusedrnn.operators.packing import pack, unpack
from fusedrnn.reference.stack import LayerWeights

States = tuple[Tensor, ...]


class _FusedRNN(nn.RNNBase):
    """What both modules share: weights by layer, and the layouts that a caller may use."""

    backend: str | None
    variational: bool
    input_dropout: float
    weight_dropout: float
    memory: str

    def _set_options(
        self, backend: str | None, variational: bool, input_dropout: float, weight_dropout: float, memory: str
    ) -> None:
        """What torch.nn has no argument for."""
        self.backend = None if backend is None else check_name(backend)
        self.memory = validation.check_memory(memory)
        self.variational = variational
        self.input_dropout = validation.check_probability("input_dropout", input_dropout)
        self.weight_dropout = validation.check_probability("weight_dropout", weight_dropout)

    def _drop_input(self, input: Tensor, batch_sizes: Tensor | None = None, batch: int = 0) -> Tensor:
        """Time-major input with `input_dropout`; a packed one is padded for it, so that the mask is that of its padded form."""
        if not self.training or self.input_dropout == 0:
            return input
        if not input.is_floating_point():
            raise RuntimeError(f"input_dropout: expected floating-point input, got {input.dtype}")
        padded, places = input, None
        if batch_sizes is not None:
            padded, _, places = unpack(input, batch_sizes, batch)
        dropped = functional.dropout(
            padded, self.input_dropout, shared_dims=1 if self.variational else 0, backend=self.backend
        )
        return dropped if places is None else pack(dropped, places)

    @property
    def _flat_weights(self) -> list[Any]:
        """The weights as they are now, whoever replaced them: no list is kept that could be stale."""
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        """torch.nn keeps a list here; the attributes are the truth."""

    def _replicate_for_data_parallel(self) -> Any:
        """As torch.nn's, whose list keeps the weights that DataParallel takes out of the replica."""
        replica: Any = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica.__dict__.update((n, p) for n, p in self._parameters.items() if n in self._flat_weights_names)
        return replica

    def _layers(self) -> list[list[LayerWeights]]:
        """The weights as they are now, by layer and direction; each is read once, for a parametrization may be costly."""
        if not torch.compiler.is_compiling() and torch.backends.cudnn.is_available() and not is_parametrized(self):
            self._update_flat_weights()  # cuDNN wants them in one block of memory, also after they were replaced
        named = [[getattr(self, name) for name in names] for names in self._all_weights]
        for w in named:
            w[1] = functional.dropout(w[1], self.weight_dropout, self.training, backend=self.backend)
        directions = 2 if self.bidirectional else 1
        every = [
            LayerWeights(
                w[0], w[1], w[2] if self.bias else None, w[3] if self.bias else None, w[-1] if self.proj_size else None
            )
            for w in named
        ]
        return [every[k : k + directions] for k in range(0, len(every), directions)]

    def _run(self, input: Tensor, states: States | None, **options: Any) -> tuple[Any, ...]:
        """Call the function of the cell on time-major input, with `batch_sizes` or `lengths`; states as a tuple."""
        raise NotImplementedError

    def _forward(self, input: Any, states: States | None, lengths: Tensor | None, all_states: bool) -> tuple[Any, ...]:
        """Bring the input into time-major batched form, run, and undo that."""
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError("lengths: expected None with a PackedSequence, which has its own, got a tensor")
            return self._forward_packed(input, states, all_states)
        validation.check_tensor("input", input)
        if lengths is None and not all_states:
            result = direct.run(self, input, states)
            if result is not None:
                return result
        dims = validation.check_input_dims(type(self).__name__, input)
        batched = dims == 3
        for state in states or ():
            validation.check_state_dims(state, dims)
        if not batched:
            if lengths is not None:
                raise ValueError("lengths: expected None with unbatched input, got a tensor")
            input = input.unsqueeze(1)
            states = None if states is None else tuple(state.unsqueeze(1) for state in states)
        elif self.batch_first:
            input = input.transpose(0, 1)
        input = self._drop_input(input)
        output, finals, *every = self._run(input, states, lengths=lengths, return_all_states=all_states)
        if not batched:
            finals = _each(lambda state: state.squeeze(1), finals)
            output, every = _each(lambda rows: rows.squeeze(1), (output, every))
        elif self.batch_first:
            output, every = _each(lambda rows: rows.transpose(0, 1), (output, every))
        return output, finals, *every

    def _zeros(self, like: Tensor, batch: int) -> States:
        """The states that every call without hx starts from."""
        rows = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        return tuple(like.new_zeros(rows, batch, width) for width in widths)

    def _forward_packed(self, input: PackedSequence, states: States | None, all_states: bool) -> tuple[Any, ...]:
        """States come and go in the caller's order of samples, the rows in the packed one."""
        data, batch_sizes, order, inverse = input
        batch = int(batch_sizes[0]) if order is None else len(order)
        if states is not None and order is not None:
            for state in states:
                validation.check_packed_state(state, batch)
            states = tuple(state.index_select(1, order) for state in states)
        if states is None and torch.compiler.is_compiling():
            states = self._zeros(data if data.is_floating_point() else self._flat_weights[0], batch)
        result: tuple[Any, ...] | None = None if all_states else direct.run(self, data, states, batch_sizes)
        if result is None:
            data = self._drop_input(data, batch_sizes, batch)
            result = self._run(data, states, batch_sizes=batch_sizes, return_all_states=all_states)
        output, finals, *every = result
        if inverse is not None:
            finals = _each(lambda state: state.index_select(1, inverse), finals)
        output, every = _each(lambda rows: PackedSequence(rows, batch_sizes, order, inverse), (output, every))
        return output, finals, *every

    def extra_repr(self) -> str:
        """As torch.nn's, and the options that differ from their defaults."""
        rates = ((name, getattr(self, name)) for name in ("input_dropout", "weight_dropout", "variational", "backend"))
        given = super().extra_repr() + "".join(f", {name}={value!r}" for name, value in rates if value)
        return given + ("" if self.memory == "save" else f", memory={self.memory!r}")


def _each(change: Callable[[Tensor], Any], given: Any) -> Any:
    """Nested tuples and lists of tensors with each tensor changed."""
    return change(given) if isinstance(given, Tensor) else tuple(_each(change, part) for part in given)


class FusedGRU(_FusedRNN):
    """Drop-in for `torch.nn.GRU`; formulas, shapes, dtypes and errors: `functional.gru`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as for `torch.nn.GRU`;
            the same seed gives the same parameters, and state_dicts load both ways.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.
        variational: the masks of `dropout` and `input_dropout` are shared by all time steps (Gal & Ghahramani, "A theoretically
            grounded application of dropout in recurrent neural networks", 2016).
        input_dropout: probability of dropping an element of a floating-point input, when training.
        weight_dropout: probability of dropping an element of `weight_hh`, drawn once a call (DropConnect as in AWD-LSTM: Merity
            et al., "Regularizing and optimizing LSTM language models", 2018), when training.
        memory: "save", or "recompute" to keep no gates for the backward: see `functional.gru`.
        reset_after: False for the GRU of Cho et al. (2014), whose reset gate acts before the recurrent product.

    `forward(input, hx=None, lengths=None)` takes what `torch.nn.GRU` takes, and also token ids: int64 (T, B), or (B, T) with
    batch_first, (T,) unbatched or packed, standing for one-hot rows of width input_size. `lengths` (B,) gives the steps of each
    sample; the output is zero past them. Returns output and h_n, and with `return_all_states=True` a third value: a tuple over
    layers of every h of the layer, laid out as the output (packed where that is) and before dropout.
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
        backend: str | None = None,
        variational: bool = False,
        input_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        memory: str = "save",
        reset_after: bool = True,
        **unsupported: Any,
    ) -> None:
        if "proj_size" in unsupported:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if unsupported:
            raise TypeError(f"FusedGRU() got an unexpected keyword argument {next(iter(unsupported))!r}")
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self._set_options(backend, variational, input_dropout, weight_dropout, memory)
        self.reset_after = reset_after

    def forward(
        self,
        input: Any,
        hx: Tensor | None = None,
        lengths: Tensor | None = None,
        *,
        return_all_states: bool = False,
    ) -> tuple[Any, ...]:
        """Run the layers: output, h_n and, if asked for, every h of every layer."""
        leaf: Any = traced_as_leaf(self, input, hx, lengths=lengths, return_all_states=return_all_states)
        if leaf is not None:
            return leaf  # type: ignore[no-any-return]
        if hx is not None:
            validation.check_tensor("hx", hx)
        output, (h_n,), *every = self._forward(input, None if hx is None else (hx,), lengths, return_all_states)
        return output, h_n, *every

    def _run(self, input: Tensor, states: States | None, **options: Any) -> tuple[Any, ...]:
        output, h_n, *every = functional.gru(
            input,
            None if states is None else states[0],
            self._layers(),
            **options,
            dropout=self.dropout,
            variational=self.variational,
            training=self.training,
            memory=self.memory,
            reset_after=self.reset_after,
            backend=self.backend,
        )
        return output, (h_n,), *every

    def extra_repr(self) -> str:
        """As torch.nn's, and which GRU if not torch.nn's."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class FusedLSTM(_FusedRNN):
    """Drop-in for `torch.nn.LSTM`; formulas, shapes, dtypes and errors: `functional.lstm`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype: as for
            `torch.nn.LSTM`; the same seed gives the same parameters, and state_dicts load both ways.
        backend, variational, input_dropout, weight_dropout, memory: as for `FusedGRU`.

    `forward(input, hx=None, lengths=None)` as for `FusedGRU`, with hx = (h_0, c_0). Returns output and (h_n, c_n), and with
    `return_all_states=True` a third value: a tuple over layers of (every h, every c) of the layer, laid out as the output.
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
        *,
        backend: str | None = None,
        variational: bool = False,
        input_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        memory: str = "save",
    ) -> None:
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
        self._set_options(backend, variational, input_dropout, weight_dropout, memory)

    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    check_forward_args = nn.LSTM.check_forward_args  # type: ignore[assignment]
    permute_hidden = nn.LSTM.permute_hidden  # type: ignore[assignment]

    def forward(
        self,
        input: Any,
        hx: tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | None = None,
        *,
        return_all_states: bool = False,
    ) -> tuple[Any, ...]:
        """Run the layers: output, (h_n, c_n) and, if asked for, (every h, every c) of every layer."""
        leaf: Any = traced_as_leaf(self, input, hx, lengths=lengths, return_all_states=return_all_states)
        if leaf is not None:
            return leaf  # type: ignore[no-any-return]
        if hx is not None:
            validation.check_pair(hx)
        return self._forward(input, None if hx is None else tuple(hx), lengths, return_all_states)

    def _run(self, input: Tensor, states: States | None, **options: Any) -> tuple[Any, ...]:
        return functional.lstm(
            input,
            None if states is None else (states[0], states[1]),
            self._layers(),
            **options,
            dropout=self.dropout,
            variational=self.variational,
            training=self.training,
            memory=self.memory,
            backend=self.backend,
        )
