"""What torch's functions are called with besides the input and the states."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusedrnn.call import States


class Network(NamedTuple):
    """A stack of layers.

    Attributes:
        cell: "gru" or "lstm".
        flat: the weights in the order of torch.nn.
        bias: whether there are biases.
        num_layers: L.
        training: tells torch whether a backward may follow.
        bidirectional: whether there are two directions.
    """

    cell: str
    flat: list[Tensor]
    bias: bool
    num_layers: int
    training: bool
    bidirectional: bool

    @property
    def directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def per_direction(self) -> int:
        """Weights of one direction of one layer."""
        return len(self.flat) // (self.num_layers * self.directions)

    @property
    def projected(self) -> bool:
        """Whether h is a projection."""
        return self.per_direction % 2 == 1

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.flat[0].shape[0] // (4 if self.cell == "lstm" else 3)

    def needs_grad(self, input: Tensor, states: States) -> bool:
        """Whether autograd records a call."""
        if not torch.is_grad_enabled():
            return False
        return input.requires_grad or any(t.requires_grad for t in (*states, *self.flat))

    def layer(self, depth: int) -> Network:
        """One layer alone."""
        each = self.per_direction * self.directions
        return self._replace(flat=self.flat[depth * each : (depth + 1) * each], num_layers=1)

    def with_input_weights(self, change: Any) -> Network:
        """This network with every w_ih of its first layer changed."""
        first = range(0, self.per_direction * self.directions, self.per_direction)
        return self._replace(flat=[change(w) if k in first else w for k, w in enumerate(self.flat)])

    def call(
        self, input: Tensor, states: States, batch_sizes: Tensor | None = None, batch_first: bool = False
    ) -> tuple[Tensor, States]:
        """Call torch's function on dense or packed input; returns the output and the final states."""
        function: Any = torch.lstm if self.cell == "lstm" else torch.gru
        hx = states if self.cell == "lstm" else states[0]
        options = (self.bias, self.num_layers, 0.0, self.training, self.bidirectional)
        if batch_sizes is None:
            output, *finals = function(input, hx, self.flat, *options, batch_first)
        else:
            output, *finals = function(input, batch_sizes, hx, self.flat, *options)
        return output, tuple(finals)
