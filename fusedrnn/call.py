"""The arguments of a backend: `Spec` (sizes and options of a network), `Weights`, and `Call`, which has both and the input.

T steps, B samples, I inputs, L layers, D directions, H units, P outputs per direction (H without projection).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.reference.noise import Noise
from fusedrnn.reference.stack import LayerWeights

States = tuple[Tensor, ...]
Result = tuple[Tensor, States, tuple[States, ...]]
"""Return value of a backend: the output, (T, B, D*P) or packed (N, D*P); the final states, shaped as the initial ones; and, if
`Call.all_states`, for each layer its h, and its c if it has one, at every step, laid out as the output; otherwise ()."""


class Spec(NamedTuple):
    """Sizes and options of a stack of recurrent layers.

    Attributes:
        cell: "gru", "gru_before" (reset gate applied before the recurrent product), "lstm", "rnn_tanh" or "rnn_relu".
        input_size: I.
        hidden_size: H.
        output_size: P.
        num_layers: L.
        directions: D.
        dropout: probability of dropping an element of the output of every layer but the last, in training.
        variational: whether all time steps share one dropout mask.
        memory: "save" saves the gates for the backward, "recompute" recomputes them there.
        input_dropout: probability of dropping an element of the input, when training.
        weight_dropout: probability of dropping an element of the recurrent weights, when training.
        zoneout: probabilities of keeping the old h and the old c of a unit (see `reference.noise`).
        recurrent_dropout: probability of dropping an element of the candidate, when training.
        heads: N, blocks of units that do not see each other's state (see `reference.heads`).
        layer_norm: whether products and c are normalised (see `reference.norm`).
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
    input_dropout: float = 0.0
    weight_dropout: float = 0.0
    zoneout: tuple[float, float] = (0.0, 0.0)
    recurrent_dropout: float = 0.0
    heads: int = 1
    layer_norm: bool = False

    @property
    def gates(self) -> int:
        """Number of gates, G; a weight has G blocks of H rows."""
        return NUMBERS[self.cell].gates

    @property
    def shared_dims(self) -> int:
        """Leading dimensions of time-major tensors that share a dropout mask, as `functional.dropout` counts them."""
        return 1 if self.variational else 0

    def weight_shapes(self, layer: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the `LayerWeights` of one direction of `layer`, counted from 0."""
        rows, width = self.gates * self.hidden_size, self.output_size
        inputs = self.directions * width if layer else self.input_size
        recurrent = (rows, width) if self.heads == 1 else (self.heads, rows // self.heads, width // self.heads)
        return (rows, inputs), recurrent, (rows,), (rows,), (width, self.hidden_size), *self.gain_shapes

    @property
    def gain_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of gain_ih, gain_hh, gain_c and bias_c of one direction with layer normalisation; c is an LSTM's."""
        rows = self.gates * self.hidden_size
        return (rows,), (rows,), (self.hidden_size,), (self.hidden_size,)

    def state_shapes(self, batch: int) -> tuple[tuple[int, int, int], ...]:
        """Shapes of h, (L*D, B, P), and of c, (L*D, B, H), if the cell has one."""
        rows = self.num_layers * self.directions
        h = (rows, batch, self.output_size)
        return (h, (rows, batch, self.hidden_size)) if NUMBERS[self.cell].has_c else (h,)


def zeros(like: Tensor, shapes: Sequence[tuple[int, ...]]) -> States:
    """Zero states of `Spec.state_shapes`, in the dtype and on the device of `like`; h and c of one shape are one tensor."""
    h = like.new_zeros(shapes[0])
    if len(shapes) == 1:
        return (h,)
    return h, h if shapes[1] == shapes[0] else like.new_zeros(shapes[1])


class Weights:
    """The weights of a stack, as a flat list and by layer and direction.

    Attributes:
        flat: for each layer and direction w_ih, w_hh, the biases and w_hr, as in torch.nn, then those of layer normalisation;
            weights that are None are left out.
        bias: whether there are biases.
        projected: whether there is a projection, h = W_hr (o tanh(c)).
        gains: number of weights of layer normalisation of a direction: 0 without, 4 for an LSTM, else 2.
    """

    _layers: Sequence[Sequence[LayerWeights]] | None = None

    def __init__(self, flat: list[Tensor], directions: int, *, bias: bool, projected: bool, gains: int = 0) -> None:
        self.flat, self.directions, self.bias, self.projected, self.gains = flat, directions, bias, projected, gains

    @classmethod
    def of(cls, layers: Sequence[Sequence[LayerWeights]]) -> Weights:
        """Create from weights given by layer and direction."""
        first = layers[0][0]
        flat = [w for layer in layers for each in layer for w in each if w is not None]
        gains = sum(gain is not None for gain in first[5:])
        weights = cls(flat, len(layers[0]), bias=first.b_ih is not None, projected=first.w_hr is not None, gains=gains)
        weights._layers = layers
        return weights

    @property
    def count(self) -> int:
        """Weights of a direction."""
        return 2 + 2 * self.bias + self.projected + self.gains

    def with_recurrent(self, change: Callable[[Tensor], Tensor]) -> Weights:
        """These weights with every w_hh changed."""
        flat = [change(w) if k % self.count == 1 else w for k, w in enumerate(self.flat)]
        return Weights(flat, self.directions, bias=self.bias, projected=self.projected, gains=self.gains)

    @property
    def layers(self) -> Sequence[Sequence[LayerWeights]]:
        """The weights by layer and direction."""
        if self._layers is None:
            each = [self._direction(self.flat[k : k + self.count]) for k in range(0, len(self.flat), self.count)]
            self._layers = [each[k : k + self.directions] for k in range(0, len(each), self.directions)]
        return self._layers

    def _direction(self, own: list[Tensor]) -> LayerWeights:
        count = 2 + 2 * self.bias + self.projected
        b_ih, b_hh = own[2:4] if self.bias else (None, None)
        return LayerWeights(own[0], own[1], b_ih, b_hh, own[count - 1] if self.projected else None, *own[count:])


class Call(NamedTuple):
    """One run of a stack over a time-major input.

    Attributes:
        spec: sizes and options of the stack.
        weights: weights of the stack.
        input: (T, B, I), token ids (T, B), or packed with `batch_sizes`: (N, I) or ids (N,).
        states: (h_0,) or (h_0, c_0), each (L*D, B, P or H); () for zeros.
        batch_sizes: samples still running at each step of packed input, as in a `PackedSequence`: (T,) int64 on the CPU; or None.
        lengths: steps of each sample, (B,) integers on the input's device; or None. Never set together with `batch_sizes`.
        training: whether to apply dropout.
        all_states: whether to return the states of every layer and step.
        resets: whether a sample starts anew from its initial state before a step, bool: (T, B), or packed (N,); or None.
        seeds: dropout seeds of all layers but the last, (L - 1,) int64 on the input's device; None without dropout, or
            for the masks of `torch.dropout`.
        noise_seeds: seeds of zoneout and recurrent dropout of all layers, (L,) int64 on the input's device; None in evaluation.
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
    resets: Tensor | None = None
    noise_seeds: Tensor | None = None

    @property
    def drops(self) -> bool:
        """Whether there is dropout between layers."""
        return self.training and self.spec.dropout > 0 and self.spec.num_layers > 1

    @property
    def noisy(self) -> bool:
        """Whether there is zoneout, also its expectation, or recurrent dropout."""
        return any(self.spec.zoneout) or (self.training and self.spec.recurrent_dropout > 0)

    @property
    def has_other_steps(self) -> bool:
        """Whether a step is another one than torch.nn's: noise, heads or normalisation."""
        return self.noisy or self.spec.heads > 1 or self.spec.layer_norm

    @property
    def has_extras(self) -> bool:
        """Whether there is what torch.nn's modules do not have, apart from dropout: resets, or other steps."""
        return self.resets is not None or self.has_other_steps

    def noise(self, layer: int) -> Noise | None:
        """The zoneout and recurrent dropout of `layer`, counted from 0; None without."""
        if not self.noisy:
            return None
        spec, seeds = self.spec, self.noise_seeds
        seed = None if seeds is None else seeds[layer : layer + 1]
        return Noise(seed, spec.zoneout, spec.recurrent_dropout, spec.variational)

    @property
    def is_ids(self) -> bool:
        """Whether the input is token ids."""
        return self.input.dtype == torch.int64

    @property
    def steps(self) -> int:
        """T; for packed input, the number of steps of the longest sample."""
        return self.input.shape[0] if self.batch_sizes is None else len(self.batch_sizes)

    @property
    def batch(self) -> int:
        """B. While a call with packed input is traced, `batch_sizes` cannot be read, and B is taken from the states."""
        if self.batch_sizes is None:
            return self.input.shape[1]
        if self.states and torch.compiler.is_compiling():
            return self.states[0].shape[1]
        return int(self.batch_sizes[0]) if self.steps else 0

    def zeros(self) -> States:
        """The initial states of a call that has none, in the dtype of the input, or of the weights if it is token ids."""
        return zeros(self.weights.flat[0] if self.is_ids else self.input, self.spec.state_shapes(self.batch))
