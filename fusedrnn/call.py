"""One recurrent call, checked and in normal form: what a backend is asked to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fusedrnn.reference.stack import LayerWeights

Result = tuple[Tensor, tuple[Tensor, ...], tuple[tuple[Tensor, ...], ...]]
"""What a backend returns: output, (T, B, D*P) or packed (N, D*P); the final states, shaped as the initial ones; and, where
`Call.all_states` asks for it, by layer every h and every c, laid out as the output, else nothing."""


@dataclass(frozen=True)
class Call:
    """A stack of recurrent layers over one input. T steps, B samples, I inputs, L layers, D directions, H units, P outputs.

    Attributes:
        cell: "gru", "gru_before" (the reset gate applied before the recurrent product) or "lstm".
        input: (T, B, I), token ids (T, B), or packed (N, I) or (N,) with `batch_sizes`.
        batch_sizes: samples still running at each step, (T,) int64 on the CPU, of a packed input sorted by length; or None.
        lengths: steps of each sample, (B,) integers on the input's device, or None; never together with `batch_sizes`.
        states: (h_0,) or (h_0, c_0), each (L*D, B, P or H).
        layers: weights by layer and direction.
        dropout: probability of dropping an output of any layer but the last.
        seeds: of the masks of those layers, (L - 1,) int64 on the input's device, or None where nothing is dropped.
        variational: whether all time steps share a mask.
        training: whether a backward may follow (cuDNN asks).
        all_states: whether to return every state of every layer.
        recompute: whether the backward forms the gates again instead of keeping them.
    """

    cell: str
    input: Tensor
    batch_sizes: Tensor | None
    lengths: Tensor | None
    states: tuple[Tensor, ...]
    layers: Sequence[Sequence[LayerWeights]]
    dropout: float
    seeds: Tensor | None
    variational: bool
    training: bool
    all_states: bool = False
    recompute: bool = False

    @property
    def is_ids(self) -> bool:
        """Whether the input is token ids."""
        return not self.input.is_floating_point()

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.layers[0][0].w_ih.shape[0] // (4 if self.cell == "lstm" else 3)

    @property
    def directions(self) -> int:
        """D."""
        return len(self.layers[0])

    @property
    def weights(self) -> list[Tensor]:
        """All weights in torch.nn's flat order."""
        return [w for layer in self.layers for direction in layer for w in _in_order(direction)]


def _in_order(weights: LayerWeights) -> list[Tensor]:
    return [w for w in weights if w is not None]
