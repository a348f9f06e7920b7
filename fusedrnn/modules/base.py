"""Base class of FusedGRU, FusedLSTM and FusedRNN: options beyond torch.nn's, weights, and the layouts of input and output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import option_checks, validation
from fusedrnn.backends import dispatch
from fusedrnn.backends.choice import check_name
from fusedrnn.call import Call, Result, Spec, States, Weights, zeros
from fusedrnn.context import recording, transformed, unrecorded
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.length_checks import as_lengths, check_shape
from fusedrnn.modules import checks, opacus
from fusedrnn.modules.direct import run_directly
from fusedrnn.modules.nested import pack_jagged, unpack_jagged
from fusedrnn.modules.parameters import WithParameters
from fusedrnn.modules.quantization import Quantizable
from fusedrnn.modules.record import record, scriptable
from fusedrnn.types import Backend, Memory, Zoneout


class Options(TypedDict, total=False):
    """Keyword arguments that torch.nn's modules do not have; see `FusedGRU`."""

    backend: Backend | None
    variational: bool
    input_dropout: float
    weight_dropout: float
    zoneout: Zoneout
    recurrent_dropout: float
    heads: int
    layer_norm: bool
    memory: Memory


class FusedRNNBase(Quantizable, WithParameters):
    """Base of `FusedGRU`, `FusedLSTM` and `FusedRNN`.

    `nn.RNNBase` provides parameters, initialisation, state_dict and introspection. `nn.GRU` and `nn.LSTM` are not base classes
    because torch.compile refuses to trace them and their subclasses as a whole.
    """

    backend: Backend | None
    memory: Memory
    zoneout: Zoneout = 0.0  # of a module that was pickled before there were these options
    recurrent_dropout = 0.0
    _cell: Any  # a value of `Spec.cell`, or a property that returns one

    def _set_options(
        self,
        backend: Backend | None = None,
        variational: bool = False,
        input_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        zoneout: Zoneout = 0.0,
        recurrent_dropout: float = 0.0,
        heads: int = 1,
        layer_norm: bool = False,
        memory: Memory = "save",
    ) -> None:
        """Check and store the `Options`, and make the parameters of those that have some."""
        self.backend = None if backend is None else check_name(backend)
        self.memory = option_checks.check_memory(memory)
        self.variational = option_checks.check_flag("variational", variational)
        self.input_dropout = validation.check_probability("input_dropout", input_dropout)
        self.weight_dropout = validation.check_probability("weight_dropout", weight_dropout)
        self.zoneout = zoneout if any(option_checks.check_zoneout(zoneout, has_c=NUMBERS[self._cell].has_c)) else 0.0
        self.recurrent_dropout = option_checks.check_below_one("recurrent_dropout", recurrent_dropout)
        self.heads = option_checks.check_heads(heads)
        self.layer_norm = option_checks.check_flag("layer_norm", layer_norm)
        option_checks.check_extras(self._spec(), projected=self.proj_size > 0)
        self._make_parameters()

    @property
    def _flat_weights(self) -> list[Any]:
        """The current weights. torch.nn stores a list instead, which can be stale after a weight is replaced."""
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        """Ignore the list that torch.nn assigns."""

    def _replicate_for_data_parallel(self) -> Any:
        """Replicate as torch.nn does, and store the weights as plain attributes: DataParallel leaves the replica no parameters."""
        replica: Any = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica.__dict__.update((n, p) for n, p in self._parameters.items() if n in self._flat_weights_names)
        return replica

    def __prepare_scriptable__(self) -> nn.Module:
        """torch.nn's module on the same parameters, which torch.jit.script compiles in place of this one."""
        return scriptable(self)

    def _spec(self) -> Spec:
        """The `Spec` of the current attributes."""
        return Spec(
            self._cell,
            self.input_size,
            self.hidden_size,
            self.proj_size or self.hidden_size,
            self.num_layers,
            2 if self.bidirectional else 1,
            self.dropout,
            self.variational,
            self.memory,
            self.input_dropout,
            self.weight_dropout,
            option_checks.check_zoneout(self.zoneout, has_c=NUMBERS[self._cell].has_c),
            self.recurrent_dropout,
            self.heads,
            self.layer_norm,
        )

    def _weights(self) -> Weights:
        """The current weights. Every attribute is read only once, since a parametrization may be costly."""
        own = self._parameters  # skips the slower lookup in nn.Module.__getattr__
        names = self._flat_weights_names
        flat: list[Any] = [own[name] if name in own else getattr(self, name) for name in names]
        directions = 2 if self.bidirectional else 1
        weights = Weights(flat, directions, bias=bool(self.bias), projected=self.proj_size > 0, gains=self._gains)
        checks.check_flat(names, weights, self.num_layers)
        tracked = torch.compiler.is_compiling() or transformed() or is_parametrized(self)
        if flat[0].is_cuda and not (tracked or self._own_parameters):
            self._update_flat_weights()  # moves them into one block of memory for cuDNN, also after a weight was replaced
        return weights

    def _forward(
        self, input: Any, states: States, lengths: Any, all_states: bool, resets: Any = None
    ) -> tuple[Any, ...]:
        """Convert the input to time-major batched form, run the layers, and convert the results back.

        Returns:
            The output, a tuple of final states and, with `all_states`, for each layer a tuple of its states at every step.
        """
        if not all_states and resets is None and type(input) is not PackedSequence:
            found = run_directly(self, input, states, None, lengths)
            if found is not None:
                return found
        if isinstance(input, PackedSequence):
            if lengths is not None:
                checks.refuse_lengths(lengths, "a PackedSequence, which has its own")
            return self._forward_packed(input, states, all_states, checks.check_packed_resets(resets, input))
        validation.check_tensor("input", input)
        if input.is_nested:
            if lengths is not None:
                checks.refuse_lengths(lengths, "a nested tensor, which has its own")
            if resets is not None:
                raise ValueError(
                    "resets: expected None with a nested tensor, got a tensor; a PackedSequence may have them"
                )
            return self._forward_nested(input, states, all_states)
        dims = checks.check_input_dims(type(self).__name__, input)
        input = validation.as_ids(input, 3)
        for state in states:
            checks.check_state_dims(state, dims)
        if resets is not None:
            checks.check_resets_dims(resets, dims - 1)
        if dims == 2:
            if lengths is not None:
                checks.refuse_lengths(lengths, "unbatched input")
            return self._forward_unbatched(input, states, all_states, resets)
        if lengths is not None:
            lengths = as_lengths(lengths, input.device)
            unrecorded(check_shape, lengths, input, self.batch_first)
        if self.batch_first:
            input = input.transpose(0, 1)
            resets = None if resets is None else resets.transpose(0, 1)
        call = Call(
            self._spec(), self._weights(), input, states, None, lengths, self.training, all_states, resets=resets
        )
        output, finals, every = self._run(call)
        if self.batch_first:
            output, every = _each(lambda rows: rows.transpose(0, 1), (output, every))
        return (output, finals, every) if all_states else (output, finals)

    def _run(self, call: Call) -> Result:
        """Run `call`, by torch.nn's module if torch.jit.trace records."""
        found = record(self, call) if recording() else None
        return dispatch.run(call, self.backend) if found is None else (*found, ())

    def _forward_unbatched(
        self, input: Tensor, states: States, all_states: bool, resets: Tensor | None
    ) -> tuple[Any, ...]:
        """Run input without batch dimension as a batch of one sample."""
        dim = 0 if self.batch_first else 1
        states = tuple([state.unsqueeze(1) for state in states])
        resets = None if resets is None else resets.unsqueeze(dim)
        output, finals, *every = self._forward(input.unsqueeze(dim), states, None, all_states, resets)
        finals = tuple([state.squeeze(1) for state in finals])
        return (output.squeeze(dim), finals, *_each(lambda rows: rows.squeeze(dim), tuple(every)))

    def _forward_packed(
        self, input: PackedSequence, states: States, all_states: bool, resets: Tensor | None = None
    ) -> tuple[Any, ...]:
        """Run packed input. States are in the caller's order of samples, rows of input and output in packed order."""
        data, batch_sizes, order, inverse = input
        data = validation.as_ids(data, 2)
        if states and order is not None:
            for state in states:
                checks.check_packed_state(state, len(order))
            states = tuple([state.index_select(1, order) for state in states])
        elif not states and torch.compiler.is_compiling():  # B cannot be read from batch_sizes while tracing
            batch = int(batch_sizes[0]) if order is None else len(order)
            like = self._flat_weights[0] if data.dtype == torch.int64 else data
            states = zeros(like, self._spec().state_shapes(batch))
        found = None
        if not all_states and resets is None:
            found = run_directly(self, data, states, batch_sizes, None, order)
        if found is None:
            call = Call(
                self._spec(), self._weights(), data, states, batch_sizes, None, self.training, all_states, resets=resets
            )
            output, finals, every = self._run(call)
        else:
            output, finals = found
        if inverse is not None:
            finals = tuple([state.index_select(1, inverse) for state in finals])
        packed = PackedSequence(output, batch_sizes, order, inverse)
        if not all_states:
            return packed, finals
        return packed, finals, _each(lambda rows: PackedSequence(rows, batch_sizes, order, inverse), every)

    def _forward_nested(self, input: Tensor, states: States, all_states: bool) -> tuple[Any, ...]:
        """Run a jagged tensor as packed rows. Output and states of every step are jagged with its offsets."""
        checks.check_jagged(type(self).__name__, input, self.input_size)
        packed, rows = pack_jagged(input)
        output, finals, *every = self._forward_packed(packed, states, all_states)
        return unpack_jagged(output, rows, input), finals, *(unpack_jagged(states, rows, input) for states in every)

    def register_full_backward_hook(self, hook: Any, prepend: bool = False) -> Any:
        """Register a hook as torch.nn does. Opacus's gets what it needs for right per-sample gradients."""
        owner = opacus.owner_of(hook)
        if owner is None:
            return super().register_full_backward_hook(hook, prepend)
        return opacus.register(self, hook, owner, prepend)

    def extra_repr(self) -> str:
        """Add the options that differ from their defaults to the text of torch.nn."""
        names = ("input_dropout", "weight_dropout", "variational", "zoneout", "recurrent_dropout", "backend")
        rates = ((name, getattr(self, name)) for name in names)
        given = super().extra_repr() + "".join(f", {name}={value!r}" for name, value in rates if value)
        given += "" if self.heads == 1 else f", heads={self.heads}"
        given += ", layer_norm=True" if self.layer_norm else ""
        return given + ("" if self.memory == "save" else f", memory={self.memory!r}")


def _each(change: Callable[[Tensor], Any], given: Any) -> Any:
    """Apply `change` to every tensor in nested tuples."""
    return change(given) if isinstance(given, Tensor) else tuple([_each(change, part) for part in given])
