"""What FusedGRU and FusedLSTM share: options beyond torch.nn's, weights, and the layouts of input and output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import validation
from fusedrnn.backends import dispatch
from fusedrnn.backends.choice import check_name
from fusedrnn.call import Call, Spec, States, Weights
from fusedrnn.dropout import dropout
from fusedrnn.operators.packing import pack, unpack


class Options(TypedDict, total=False):
    """The arguments of the modules beyond torch.nn's; see `FusedGRU`."""

    backend: str | None
    variational: bool
    input_dropout: float
    weight_dropout: float
    memory: str


def check_options(name: str, options: Options) -> None:
    """Raise a TypeError, as a call of `name` does, if `options` has an argument that there is not."""
    unknown = next((option for option in options if option not in Options.__annotations__), None)
    if unknown is not None:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown!r}")


class FusedRNNBase(nn.RNNBase):
    """Base of `FusedGRU` and `FusedLSTM`.

    `nn.RNNBase` owns parameters, initialisation, state_dict and introspection. `nn.GRU` and `nn.LSTM` are no bases, because
    torch.compile refuses to trace them and their subclasses whole.
    """

    cell: Any  # a name of `Spec.cell`, or a property that returns one

    def _set_options(
        self,
        backend: str | None = None,
        variational: bool = False,
        input_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        memory: str = "save",
    ) -> None:
        """Check and keep the `Options`."""
        self.backend = None if backend is None else check_name(backend)
        self.memory = validation.check_memory(memory)
        self.variational = variational
        self.input_dropout = validation.check_probability("input_dropout", input_dropout)
        self.weight_dropout = validation.check_probability("weight_dropout", weight_dropout)

    @property
    def _flat_weights(self) -> list[Any]:
        """The weights as they are now. torch.nn keeps a list, which is stale when a weight is replaced by other means."""
        own = self._parameters  # without the detour over nn.Module.__getattr__
        return [own[name] if name in own else getattr(self, name, None) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        """Ignore the list that torch.nn makes."""

    def _replicate_for_data_parallel(self) -> Any:
        """As torch.nn's, whose list keeps the weights that DataParallel takes out of the replica."""
        replica: Any = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica.__dict__.update((n, p) for n, p in self._parameters.items() if n in self._flat_weights_names)
        return replica

    def _spec(self) -> Spec:
        """The attributes as they are now, in one value."""
        return Spec(
            self.cell,
            self.input_size,
            self.hidden_size,
            self.proj_size or self.hidden_size,
            self.num_layers,
            2 if self.bidirectional else 1,
            self.dropout,
            self.variational,
            self.memory,
        )

    def _weights(self) -> Weights:
        """The weights of a call, `weight_dropout` applied; each attribute is read once, for a parametrization may be costly."""
        flat = self._flat_weights
        if flat[0].is_cuda and not torch.compiler.is_compiling() and not is_parametrized(self):
            self._update_flat_weights()  # cuDNN wants them in one block of memory, also after they were replaced
        if self.training and self.weight_dropout:
            recurrent = ["weight_hh" in name for name in self._flat_weights_names]
            pairs = zip(flat, recurrent, strict=True)
            flat = [dropout(w, self.weight_dropout, backend=self.backend) if drops else w for w, drops in pairs]
        directions = 2 if self.bidirectional else 1
        return Weights(flat, directions, bias=self.bias, projected=self.proj_size > 0)

    def _drop_input(self, input: Tensor, batch_sizes: Tensor | None = None, batch: int = 0) -> Tensor:
        """Time-major input after `input_dropout`; packed rows are padded for it, so that the mask is that of the padded form."""
        if not self.training or self.input_dropout == 0:
            return input
        if not input.is_floating_point():
            raise RuntimeError(f"input_dropout: expected floating-point input, got {input.dtype}")
        padded, places = input, None
        if batch_sizes is not None:
            padded, _, places = unpack(input, batch_sizes, batch)
        shared_dims = 1 if self.variational else 0
        dropped = dropout(padded, self.input_dropout, shared_dims=shared_dims, backend=self.backend)
        return dropped if places is None else pack(dropped, places)

    def _forward(self, input: Any, states: States, lengths: Tensor | None, all_states: bool) -> tuple[Any, ...]:
        """Bring the input into time-major batched form, run, and undo that.

        Returns:
            Output, the tuple of final states and, with `all_states`, a tuple over layers of the tuple of all their states.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError("lengths: expected None with a PackedSequence, which has its own, got a tensor")
            return self._forward_packed(input, states, all_states)
        validation.check_tensor("input", input)
        dims = validation.check_input_dims(type(self).__name__, input)
        for state in states:
            validation.check_state_dims(state, dims)
        batched = dims == 3
        if not batched:
            if lengths is not None:
                raise ValueError("lengths: expected None with unbatched input, got a tensor")
            input = input.unsqueeze(1)
            states = tuple([state.unsqueeze(1) for state in states])
        elif self.batch_first:
            input = input.transpose(0, 1)
        input = self._drop_input(input)
        call = Call(self._spec(), self._weights(), input, states, None, lengths, self.training, all_states)
        output, finals, every = dispatch.run(call, self.backend)
        if not batched:
            output, finals, every = _each(lambda rows: rows.squeeze(1), (output, finals, every))
        elif self.batch_first:
            output, every = _each(lambda rows: rows.transpose(0, 1), (output, every))
        return (output, finals, every) if all_states else (output, finals)

    def _forward_packed(self, input: PackedSequence, states: States, all_states: bool) -> tuple[Any, ...]:
        """States come and go in the caller's order of samples, the rows in the packed one."""
        data, batch_sizes, order, inverse = input
        batch = int(batch_sizes[0]) if order is None else len(order)
        spec = self._spec()
        if states and order is not None:
            for state in states:
                validation.check_packed_state(state, batch)
            states = tuple([state.index_select(1, order) for state in states])
        elif not states and torch.compiler.is_compiling():  # batch_sizes, which say B, cannot be read there
            states = spec.zeros(data if data.is_floating_point() else self._flat_weights[0], batch)
        data = self._drop_input(data, batch_sizes, batch)
        call = Call(spec, self._weights(), data, states, batch_sizes, None, self.training, all_states)
        output, finals, every = dispatch.run(call, self.backend)
        if inverse is not None:
            finals = _each(lambda state: state.index_select(1, inverse), finals)
        output, every = _each(lambda rows: PackedSequence(rows, batch_sizes, order, inverse), (output, every))
        return (output, finals, every) if all_states else (output, finals)

    def extra_repr(self) -> str:
        """As torch.nn's, and the options that differ from their defaults."""
        rates = ((name, getattr(self, name)) for name in ("input_dropout", "weight_dropout", "variational", "backend"))
        given = super().extra_repr() + "".join(f", {name}={value!r}" for name, value in rates if value)
        return given + ("" if self.memory == "save" else f", memory={self.memory!r}")


def _each(change: Callable[[Tensor], Any], given: Any) -> Any:
    """Nested tuples of tensors with each tensor changed."""
    return change(given) if isinstance(given, Tensor) else tuple([_each(change, part) for part in given])
