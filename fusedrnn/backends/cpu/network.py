"""What torch's functions are called with besides the input and the states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusedrnn.backends.cpu.cost import Sizes
from fusedrnn.call import States, Weights
from fusedrnn.kernels.cell import NUMBERS

FUNCTIONS: dict[str, Any] = {
    "gru": torch.gru,
    "lstm": torch.lstm,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}
"""torch's functions, by cell."""


def run_torch(cell: str, input: tuple[Tensor, ...], states: States, *rest: Any) -> tuple[Tensor, States]:
    """Call torch's function on `input`: dense, or packed rows and batch_sizes. `rest`: its arguments after the states."""
    output, *finals = FUNCTIONS[cell](*input, states if cell == "lstm" else states[0], *rest)
    return output, tuple(finals)


class Network(NamedTuple):
    """A stack of layers.

    Attributes:
        cell: a key of `FUNCTIONS`.
        weights: the weights, which say the number of layers too.
        training: tells torch whether a backward may follow.
        dropout: probability of dropping an element between layers, with the masks of torch; 0 outside training.
    """

    cell: str
    weights: Weights
    training: bool
    dropout: float = 0.0

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.weights.flat) // (self.weights.count * self.weights.directions)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.weights.flat[0].shape[0] // NUMBERS[self.cell].gates

    def needs_grad(self, input: Tensor, states: States) -> bool:
        """Whether autograd records a call."""
        if not torch.is_grad_enabled():
            return False
        return input.requires_grad or any(t.requires_grad for t in (*states, *self.weights.flat))

    def sizes(self, T: int, B: int, N: int) -> Sizes:
        """The `Sizes` of a call of T steps of B samples, N together."""
        w_ih = self.weights.flat[0]
        return Sizes(
            self.cell, w_ih.dtype, T, B, N, w_ih.shape[1], self.hidden_size, self.num_layers, self.weights.directions
        )

    def with_flat(self, flat: list[Tensor]) -> Network:
        """This network with other weights of the same kinds, and as many layers as they are for."""
        own = self.weights
        return self._replace(weights=Weights(flat, own.directions, bias=own.bias, projected=own.projected))

    def layer(self, depth: int) -> Network:
        """One layer alone."""
        each = self.weights.count * self.weights.directions
        return self.with_flat(self.weights.flat[depth * each : (depth + 1) * each])._replace(dropout=0.0)

    def layer_by_layer(
        self,
        run: Callable[[Network, Tensor, States], tuple[Tensor, States]],
        x: Tensor,
        states: States,
        drop: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, States]:
        """Run every layer by `run`, with `drop`, by default torch's dropout, between layers if there is dropout."""
        finals: list[States] = []
        D = self.weights.directions
        for depth in range(self.num_layers):
            if depth and self.dropout:
                x = torch.dropout(x, self.dropout, True) if drop is None else drop(x)
            x, final = run(self.layer(depth), x, tuple([state.narrow(0, depth * D, D) for state in states]))
            finals.append(final)
        return x, tuple([torch.cat(parts) for parts in zip(*finals, strict=True)])

    def with_input_weights(self, change: Callable[[Tensor], Tensor]) -> Network:
        """This network with every w_ih of its first layer changed."""
        count = self.weights.count
        first = range(0, count * self.weights.directions, count)
        return self.with_flat([change(w) if k in first else w for k, w in enumerate(self.weights.flat)])

    def call(
        self, input: Tensor, states: States, batch_sizes: Tensor | None = None, batch_first: bool = False
    ) -> tuple[Tensor, States]:
        """Call torch's function on dense or packed input; returns the output and the final states."""
        flat, both = self.weights.flat, self.weights.directions == 2
        rest = (flat, self.weights.bias, self.num_layers, self.dropout, self.training, both)
        if batch_sizes is None:
            return run_torch(self.cell, (input,), states, *rest, batch_first)
        return run_torch(self.cell, (input, batch_sizes), states, *rest)
