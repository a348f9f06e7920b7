"""The values that a call of a recurrent network is made of: what it is (`Spec`), its weights, and one `Call` with both.

T steps, B samples, I inputs, L layers, D directions, H units, P outputs of a direction (H without projection).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.reference.stack import LayerWeights

States = tuple[Tensor, ...]
Result = tuple[Tensor, States, tuple[States, ...]]
"""What a backend returns: output, (T, B, D*P) or packed (N, D*P); the final states, shaped as the initial ones; and, where
`Call.all_states` asks for it, by layer every h and every c, laid out as the output, else nothing."""


class Spec(NamedTuple):
    """A stack of recurrent layers, whatever its weights and its input.

    Attributes:
        cell: "gru", "gru_before" (the reset gate applied before the recurrent product) or "lstm".
        input_size: I.
        hidden_size: H.
        output_size: P.
        num_layers: L.
        directions: D.
        dropout: probability of dropping an output of any layer but the last, when training.
        variational: whether all time steps share a dropout mask.
        memory: "save" keeps the gates for the backward, "recompute" forms them again.
    """

    cell: str
    input_size: int
    hidden_size: int
    output_size: int
    num_layers: int = 1
    directions: int = 1
    dropout: float = 0.0
    variational: bool = False
    memory: str = "save"

    @property
    def gates(self) -> int:
        """Blocks of H rows in a weight."""
        return NUMBERS[self.cell].gates

    def weight_shapes(self, layer: int) -> tuple[tuple[int, ...], ...]:
        """Of w_ih, w_hh, b_ih, b_hh and w_hr of a direction of `layer`, counted from 0."""
        rows, width = self.gates * self.hidden_size, self.output_size
        inputs = self.directions * width if layer else self.input_size
        return (rows, inputs), (rows, width), (rows,), (rows,), (width, self.hidden_size)

    def state_shapes(self, batch: int) -> tuple[tuple[int, int, int], ...]:
        """Of h, (L*D, B, P), and of c, (L*D, B, H), where the cell has one."""
        rows = self.num_layers * self.directions
        h = (rows, batch, self.output_size)
        return (h, (rows, batch, self.hidden_size)) if NUMBERS[self.cell].has_c else (h,)

    def zeros(self, like: Tensor, batch: int) -> States:
        """The states that a call without initial states starts from; h and c of one shape are one tensor."""
        h, *c = self.state_shapes(batch)
        zeros = like.new_zeros(h)
        return (zeros, *(zeros if shape == h else like.new_zeros(shape) for shape in c))


class Weights:
    """The weights of a stack, in both orders that are asked for.

    Attributes:
        flat: in torch.nn's flat order: w_ih, w_hh, the biases, w_hr, direction by direction, without those that are None.
        bias: whether there are biases.
        projected: whether h is a projection, W_hr of o tanh(c).
    """

    def __init__(self, flat: list[Tensor], directions: int, *, bias: bool, projected: bool) -> None:
        self.flat, self.directions, self.bias, self.projected = flat, directions, bias, projected
        self._layers: Sequence[Sequence[LayerWeights]] | None = None

    @classmethod
    def of(cls, layers: Sequence[Sequence[LayerWeights]]) -> Weights:
        """Weights that are given by layer and direction."""
        first = layers[0][0]
        flat = [w for layer in layers for each in layer for w in each if w is not None]
        weights = cls(flat, len(layers[0]), bias=first.b_ih is not None, projected=first.w_hr is not None)
        weights._layers = layers
        return weights

    @property
    def layers(self) -> Sequence[Sequence[LayerWeights]]:
        """By layer and direction."""
        if self._layers is None:
            count = 2 + 2 * self.bias + self.projected
            each = [self._direction(self.flat[k : k + count]) for k in range(0, len(self.flat), count)]
            self._layers = [each[k : k + self.directions] for k in range(0, len(each), self.directions)]
        return self._layers

    def _direction(self, own: list[Tensor]) -> LayerWeights:
        b_ih, b_hh = own[2:4] if self.bias else (None, None)
        return LayerWeights(own[0], own[1], b_ih, b_hh, own[-1] if self.projected else None)


class Call(NamedTuple):
    """One run of a stack over an input in time-major form.

    Attributes:
        spec: what the stack is.
        weights: its weights.
        input: (T, B, I), token ids (T, B), or packed (N, I) or (N,) with `batch_sizes`.
        states: (h_0,) or (h_0, c_0), each (L*D, B, P or H); () for zeros.
        batch_sizes: samples still running at each step, (T,) int64 on the CPU, of a packed input sorted by length; or None.
        lengths: steps of each sample, (B,) integers on the input's device, or None; never together with `batch_sizes`.
        training: whether to drop.
        all_states: whether to return every state of every layer.
        seeds: of the masks of all layers but the last, (L - 1,) int64 on the input's device; None where nothing is dropped.
    """

    spec: Spec
    weights: Weights
    input: Tensor
    states: States = ()
    batch_sizes: Tensor | None = None
    lengths: Tensor | None = None
    training: bool = False
    all_states: bool = False
    seeds: Tensor | None = None

    @property
    def is_ids(self) -> bool:
        """Whether the input is token ids."""
        return not self.input.is_floating_point()

    @property
    def steps(self) -> int:
        """T; of packed input that of the longest sample."""
        return self.input.shape[0] if self.batch_sizes is None else len(self.batch_sizes)

    @property
    def batch(self) -> int:
        """B; where no value can be read, for the call is traced, packed input has that of the states."""
        if self.batch_sizes is None:
            return self.input.shape[1]
        if self.states and torch.compiler.is_compiling():
            return self.states[0].shape[1]
        return int(self.batch_sizes[0])
