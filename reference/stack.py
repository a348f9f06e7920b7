"""Deep and bidirectional networks: a stack of layers.

Layers are stacked as in Graves, Mohamed & Hinton, "Speech recognition with deep recurrent neural networks" (2013):
the input of a layer is the output of the layer below, both directions concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear

from .loop import State, active_steps
from .norm import Gains, scaled

Sweep = Callable[..., tuple[State, State]]
"""``sweep(gx, states, w_hh, b_hh, w_hr, lengths, **options) -> (trace, final states)``, shapes and options as in `reference.sweep`:
the trace has the state tensors of every step; the first, h, is the output."""

Layer = Callable[[Tensor, State, Sequence["LayerWeights"], Tensor | None], tuple[State, State]]
"""``layer(x, states, directions, lengths) -> (trace, final states)``: an input projection and a sweep."""

Between = Callable[[int, Tensor], Tensor]
"""``between(k, output)``: applied to the output of layer k before the next layer reads it, for instance dropout."""


class LayerWeights(NamedTuple):
    """The weights of one direction of one layer; I is its input size, G its number of gates."""

    w_ih: Tensor  # (G*H, I)
    w_hh: Tensor  # (G*H, P), or of N heads (N, G*H/N, H/N)
    b_ih: Tensor | None = None  # (G*H,)
    b_hh: Tensor | None = None  # (G*H,)
    w_hr: Tensor | None = None  # (P, H), the projection of an LSTM
    gain_ih: Tensor | None = None  # (G*H,), with layer normalisation (see `norm`)
    gain_hh: Tensor | None = None  # (G*H,), with layer normalisation
    gain_c: Tensor | None = None  # (H,), of an LSTM with layer normalisation
    bias_c: Tensor | None = None  # (H,), of an LSTM with layer normalisation

    @property
    def gains(self) -> Gains | None:
        """Those of the time loop, or None."""
        return None if self.gain_hh is None else Gains(self.gain_hh, self.gain_c, self.bias_c)


def project(x: Tensor, w_ih: Tensor, b_ih: Tensor | None = None) -> Tensor:
    """Compute ``x W_ih^T + b_ih`` of all steps as one matrix product.

    Token ids stand for one-hot rows of size I: their product gathers columns of `w_ih`.

    Args:
        x: (T, B, I) in the dtype of the weights, or ids from 0 to I - 1, (T, B) int64. Another id is an IndexError on a CPU.
        w_ih: input weights, (N, I).
        b_ih: input bias, (N,).

    Returns:
        (T, B, N) in the dtype of the weights.
    """
    if x.is_floating_point():
        return linear(x, w_ih, b_ih)
    gx = embedding(x, w_ih.t())
    return gx if b_ih is None else gx + b_ih


def input_of(x: Tensor, w: LayerWeights) -> Tensor:
    """The input side of all steps and directions, (T, B, D, G*H), from the weights `side_by_side`: one product."""
    D, normal = len(w.w_ih), w.gain_ih is not None
    gx = project(x, w.w_ih.flatten(0, 1), None if w.b_ih is None or normal else w.b_ih.flatten())
    gx = torch.unflatten(gx, -1, (D, -1))
    return gx if w.gain_ih is None else scaled(gx, w.gain_ih, w.b_ih)


def layer_of(sweep: Sweep, **options: Any) -> Layer:
    """Make a layer from a sweep: the input projection of all directions as one product, then the sweep with its options."""

    def layer(
        x: Tensor, states: State, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[State, State]:
        w = side_by_side(directions)
        more = {} if w.gains is None else {"gains": w.gains}
        return sweep(input_of(x, w), states, w.w_hh, w.b_hh, w.w_hr, lengths, **options, **more)

    return layer


def run_layers(
    layer_at: Callable[[int], Layer],
    x: Tensor,
    states: State,
    layers: Sequence[Sequence[LayerWeights]],
    *,
    between: Between | None = None,
    lengths: Tensor | None = None,
    all_states: bool = False,
) -> tuple[Tensor, State, list[State]]:
    """Run L layers of D directions each.

    Args:
        layer_at: layer k, counted from 0, for instance always the same `layer_of` a sweep.
        x: (T, B, I), or ids (T, B); see `project`. Its values past `lengths` have no effect.
        states: initial states, each (L*D, B, ...), layer by layer as in `torch.nn`.
        layers: the weights, one list per layer with one entry per direction.
        between: applied to the output of every layer but the last.
        lengths: number of steps of each sample, (B,) integers from 0 to T on the device of `x`; None means T for all.
        all_states: whether to return the traces.

    Returns:
        The last layer's output, (T, B, D*P); the final states, shaped as `states`; and, if `all_states`, the trace of every
        layer, its state tensors of every step before `between`, each (T, B, D*P or D*H).
    """
    if lengths is not None:  # padding is zeroed first: 0 * NaN would be NaN in the gradient of W_ih
        active = active_steps(lengths, x.shape[0])
        x = torch.where(active.unsqueeze(-1) if x.is_floating_point() else active, x, 0)
    finals, traces = [], []
    layer_states = zip(*(torch.split(state, len(layers[0])) for state in states), strict=True)
    for depth, (directions, state) in enumerate(zip(layers, layer_states, strict=True)):
        if depth > 0 and between is not None:
            x = between(depth - 1, x)
        trace, final = layer_at(depth)(x, state, directions, lengths)
        flat = tuple(states.flatten(2) for states in trace)
        x = flat[0]
        if all_states:
            traces.append(flat)
        finals.append(final)
    return x, tuple(torch.cat(parts) for parts in zip(*finals, strict=True)), traces


def side_by_side(directions: Sequence[LayerWeights]) -> LayerWeights:
    """The weights of all directions, stacked along a new first dimension."""
    (w_ih, w_hh), others = (
        zip(*(d[:2] for d in directions), strict=True),
        zip(*(d[2:] for d in directions), strict=True),
    )
    return LayerWeights(stacked(w_ih), stacked(w_hh), *(stacked_if_any(parts) for parts in others))


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Stack the weights of the directions along a new first dimension; for a single direction it is a view."""
    if len(parts) == 1:
        return parts[0].unsqueeze(0)
    copy = torch.stack(tuple(parts))
    is_matrix = copy.dim() > 2  # no gradient depends on a bias
    if is_matrix and copy.requires_grad:
        _refuse_backward_after_change(copy, parts)
    return copy


def _refuse_backward_after_change(copy: Tensor, parts: Sequence[Tensor]) -> None:
    """Raise a RuntimeError in the backward if one of `parts` was changed in place, as autograd does for tensors that it saves."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return
    tracked = [part for part in parts if not part.is_inference()]
    versions = [part._version for part in tracked]

    def check(_: Tensor) -> None:
        if [part._version for part in tracked] != versions:
            raise RuntimeError("a weight needed for gradient computation has been modified by an inplace operation")

    copy.register_hook(check)


def stacked_if_any(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Stack an optional weight, which all directions have or none has (None)."""
    present = [part for part in parts if part is not None]
    return stacked(present) if present else None
