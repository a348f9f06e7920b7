"""FusedGRUCell and FusedLSTMCell: torch.nn's GRUCell and LSTMCell by name, argument, parameter and result.

They subclass `nn.modules.rnn.RNNCellBase`, which owns parameters and initialisation. One step has nothing to fuse over time:
"auto" and "aten" run torch's own cell, any other choice runs a layer of one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.rnn import RNNCellBase

from fusedrnn import functional, validation
from fusedrnn.backends import choice as backends
from fusedrnn.backends import direct
from fusedrnn.context import traced_as_leaf, transformed
from fusedrnn.reference.stack import LayerWeights

States = tuple[Tensor, ...]


class _FusedCell(RNNCellBase):
    """What both cells share: checks, the batch dimension, the choice of backend."""

    backend: str | None

    def _weights(self) -> LayerWeights:
        return LayerWeights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        """Run torch's cell on (B, I) and states (B, H)."""
        raise NotImplementedError

    def _layer(self, input: Tensor, states: States, weights: LayerWeights) -> States:
        """Run a layer of one step on (1, B, I), or ids (1, B), and states (1, B, H)."""
        raise NotImplementedError

    def _has_step(self, input: Tensor) -> bool:
        """Whether torch has a cell for this call."""
        return input.is_floating_point() and not transformed()

    def _forward(self, input: Tensor, states: States | None, names: tuple[str, ...]) -> States:
        """Check, add the batch dimension if there is none, run, take it away."""
        cell = type(self).__name__
        validation.check_tensor("input", input)
        ids = input.dtype == torch.int64 and input.dim() < 2
        if input.dim() + ids not in (1, 2):
            raise ValueError(f"{cell}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for name, state in zip(names, states or (), strict=False):
            if state.dim() not in (1, 2):
                raise ValueError(f"{cell}: Expected {name} to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() + ids == 2
        if not batched:
            input = input.unsqueeze(0)
            states = None if states is None else tuple(state.unsqueeze(0) for state in states)
        weights = self._weights()
        if states is None:
            like = weights.w_hh if ids else input
            states = (like.new_zeros(input.shape[0], self.hidden_size),) * len(names)
        named = tuple(zip(names, states, strict=True))
        validation.check_cell(input, named, weights.w_ih, self.input_size, self.hidden_size)
        if backends.requested(self.backend) in ("auto", "aten") and self._has_step(input):
            states = self._step(input, states, weights)
        else:
            added = tuple(state.unsqueeze(0) for state in states)
            states = tuple(state.squeeze(0) for state in self._layer(input.unsqueeze(0), added, weights))
        return states if batched else tuple(state.squeeze(0) for state in states)

    def extra_repr(self) -> str:
        """As torch.nn's, and the backend if one was chosen."""
        return super().extra_repr() + (f", backend={self.backend!r}" if self.backend else "")


class FusedGRUCell(_FusedCell):
    """Drop-in for `torch.nn.GRUCell`; formulas: `functional.gru`.

    Args:
        input_size, hidden_size, bias, device, dtype: as for `torch.nn.GRUCell`; the same seed gives the same parameters.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.
        reset_after: False for the GRU of Cho et al. (2014), whose reset gate acts before the recurrent product.

    `forward(input, hx=None)` takes input (B, I) or (I,), or token ids int64 (B,) or (), and hx (B, H) or (H,), zeros by
    default; it returns h', shaped as hx. Errors: ValueError for a wrong number of dimensions or dtype, RuntimeError for a
    wrong size or device, IndexError for a token id out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        backend: str | None = None,
        reset_after: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=3, device=device, dtype=dtype)
        self.backend = None if backend is None else backends.check_name(backend)
        self.reset_after = reset_after

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Run one step: h'."""
        states = None if hx is None else (hx,)
        found = direct.step(self, input, states, 1)
        if found is None:
            leaf: Any = traced_as_leaf(self, input, hx)
            if leaf is not None:
                return leaf  # type: ignore[no-any-return]
            if hx is not None:
                validation.check_tensor("hx", hx)
            found = self._forward(input, states, ("hidden",))
        return found[0]

    def _has_step(self, input: Tensor) -> bool:
        return self.reset_after and super()._has_step(input)

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        return (torch.gru_cell(input, states[0], *weights[:4]),)

    def _layer(self, input: Tensor, states: States, weights: LayerWeights) -> States:
        _, h = functional.gru(input, states[0], [[weights]], reset_after=self.reset_after, backend=self.backend)
        return (h,)

    def extra_repr(self) -> str:
        """As torch.nn's, and which GRU if not torch.nn's."""
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class FusedLSTMCell(_FusedCell):
    """Drop-in for `torch.nn.LSTMCell`; formulas: `functional.lstm`.

    Args:
        input_size, hidden_size, bias, device, dtype: as for `torch.nn.LSTMCell`; the same seed gives the same parameters.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.

    `forward(input, hx=None)` as for `FusedGRUCell`, with hx = (h, c); it returns (h', c').
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        backend: str | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)
        self.backend = None if backend is None else backends.check_name(backend)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Run one step: (h', c')."""
        found = direct.step(self, input, hx, 2) if hx is None or (isinstance(hx, tuple) and len(hx) == 2) else None
        if found is None:
            leaf: Any = traced_as_leaf(self, input, hx)
            if leaf is not None:
                return leaf  # type: ignore[no-any-return]
            if hx is not None:
                validation.check_pair(hx)
            found = self._forward(input, None if hx is None else tuple(hx), ("hx[0]", "hx[1]"))
        return found  # type: ignore[return-value]

    def _step(self, input: Tensor, states: States, weights: Sequence[Any]) -> States:
        return torch.lstm_cell(input, states, *weights[:4])

    def _layer(self, input: Tensor, states: States, weights: LayerWeights) -> States:
        _, (h, c) = functional.lstm(input, (states[0], states[1]), [[weights]], backend=self.backend)
        return h, c
