"""Base class of FusedGRUCell, FusedLSTMCell and FusedRNNCell.

It subclasses `nn.modules.rnn.RNNCellBase`, which provides parameters and initialisation. One step has no time loop to fuse, so
"auto" and "aten" use torch's own cell where it can run the step; otherwise the step is run as a layer with T = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _is_tracing
from torch.nn.modules.rnn import RNNCellBase
from torch.utils.hooks import RemovableHandle

from fusedrnn import validation
from fusedrnn.backends import dispatch
from fusedrnn.backends.torch_rnn import runs_on
from fusedrnn.call import Call, Spec, States, Weights
from fusedrnn.context import unrecorded
from fusedrnn.modules import checks, opacus
from fusedrnn.modules.quantization import Quantizable
from fusedrnn.modules.record import scriptable
from fusedrnn.reference.stack import LayerWeights
from fusedrnn.types import Backend

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class FusedCell(Quantizable, RNNCellBase):
    """Base class of the cells: checks, batch dimension, choice of backend."""

    backend: Backend | None
    _cell: Any  # a value of `Spec.cell`, or a property that returns one

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        """Run torch's cell on input (B, I) and states (B, H)."""
        raise NotImplementedError

    def __prepare_scriptable__(self) -> nn.Module:
        """torch.nn's cell on the same parameters, which torch.jit.script compiles in place of this one."""
        return scriptable(self)

    def _weights(self) -> list[Any]:
        """The current weights in torch.nn's order; None for a missing bias."""
        own = self._parameters  # skips the slower lookup in nn.Module.__getattr__
        return [own[name] if name in own else getattr(self, name) for name in _NAMES]

    def _step_directly(self, input: Any, states: States, count: int) -> States | None:
        """Run torch's cell with few checks; returns None if `_forward` is needed. () stands for `count` zero states.

        torch's cell takes some ten microseconds, so only what torch would accept by broadcasting or type promotion is checked:
        dimensions and dtypes of the states. If torch raises an error, `_forward` checks the arguments and says what is wrong.
        """
        if (
            torch.compiler.is_compiling()
            or _is_tracing()
            or type(input) is not Tensor
            or input.dim() != 2
            or not input.is_cpu
        ):
            return None
        if not dispatch.left_to_torch(self._cell, self.backend, eager=True):
            return None
        weights, dtype = self._weights(), input.dtype
        if weights[0].dtype != dtype:
            return None
        if not states:
            states = (input.new_zeros(len(input), self.hidden_size),) * count
        for state in states:
            if type(state) is not Tensor or state.dim() != 2 or state.dtype != dtype:
                return None
        try:
            return self._step(input, states, weights)
        except RuntimeError:
            return None

    def _forward(self, input: Any, states: States, names: tuple[str, ...]) -> States:
        """Check the arguments, add a missing batch dimension, run the step, and remove the added dimension."""
        cell = type(self).__name__
        validation.check_tensor("input", input)
        input = validation.as_ids(input, 2)
        ids = input.dtype == torch.int64 and input.dim() < 2
        if input.dim() + ids not in (1, 2):
            raise ValueError(f"{cell}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for name, state in zip(names, states, strict=False):
            if state.dim() not in (1, 2):
                raise ValueError(f"{cell}: Expected {name} to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() + ids == 2
        if not batched:
            input = input.unsqueeze(0)
            states = tuple(state.unsqueeze(0) for state in states)
        weights = self._weights()
        if not states:
            like = weights[1] if ids else input
            states = (like.new_zeros(input.shape[0], self.hidden_size),) * len(names)
        unrecorded(
            checks.check_cell,
            input,
            tuple(zip(names, states, strict=True)),
            weights[0],
            self.input_size,
            self.hidden_size,
        )
        run = self._step if self._left_to_torch(input) else self._layer
        states = run(input, states, weights)
        return states if batched else tuple(state.squeeze(0) for state in states)

    def _left_to_torch(self, input: Tensor) -> bool:
        """Whether torch's cell can run on `input` and is what the backend stands for."""
        if not input.is_floating_point() or not dispatch.left_to_torch(self._cell, self.backend):
            return False
        return runs_on(input.device, self._cell)

    def _layer(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        """Run the step as a layer with T = 1 on input (B, I), or ids (B,), and states (B, H)."""
        spec = Spec(self._cell, self.input_size, self.hidden_size, self.hidden_size)
        added = tuple(state.unsqueeze(0) for state in states)
        call = Call(spec, Weights.of([[LayerWeights(*weights)]]), input.unsqueeze(0), added)
        _, finals, _ = dispatch.run(call, self.backend, step=True)
        return tuple(state.squeeze(0) for state in finals)

    def register_full_backward_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Register a hook as torch.nn does; a RuntimeError for Opacus's."""
        opacus.refuse_cell(self, hook)
        return super().register_full_backward_hook(hook, prepend)

    def extra_repr(self) -> str:
        """Add the backend, if one was chosen, to the text of torch.nn."""
        return super().extra_repr() + (f", backend={self.backend!r}" if self.backend else "")
