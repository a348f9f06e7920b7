"""`functional.lstm`."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

from torch import Tensor

from fusedrnn import validation
from fusedrnn.stacks.run import Layers, Options, run_layers
from fusedrnn.types import StatePair

Pair = tuple[Tensor, Tensor]


@overload
def lstm(
    input: Tensor,
    hx: StatePair | None,
    layers: Layers,
    *,
    return_all_states: Literal[False] = False,
    **options: Unpack[Options],
) -> tuple[Tensor, Pair]: ...
@overload
def lstm(
    input: Tensor,
    hx: StatePair | None,
    layers: Layers,
    *,
    return_all_states: Literal[True],
    **options: Unpack[Options],
) -> tuple[Tensor, Pair, tuple[Pair, ...]]: ...
@overload
def lstm(
    input: Tensor,
    hx: StatePair | None,
    layers: Layers,
    *,
    return_all_states: bool = False,
    **options: Unpack[Options],
) -> tuple[Tensor, Pair] | tuple[Tensor, Pair, tuple[Pair, ...]]: ...
def lstm(
    input: Tensor,
    hx: StatePair | None,
    layers: Layers,
    *,
    return_all_states: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Run a stack of LSTM layers (Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000).

    i, f, o = sigmoid and g = tanh of W_i* x + b_i* + W_h* h + b_h*; c' = f c + i g; h' = o tanh(c'), times W_hr with a
    projection (Sak et al. 2014).

    Arguments and errors as for `gru`, except hx = (h_0 (L*D, B, P), c_0 (L*D, B, H)), and without `reset_after`.

    Returns:
        The last layer's output, (T, B, D*P) or packed (N, D*P), and (h_n, c_n), shaped as hx. With `return_all_states` a third
        value: a tuple with one entry per layer, (h, c) at every step, laid out as the output; the last dimension of c is D*H.
    """
    validation.check_options("lstm", options, Options)
    if hx is not None:
        validation.check_pair(hx)
    output, finals, every = run_layers(
        "lstm", input, () if hx is None else tuple(hx), layers, return_all_states=return_all_states, **options
    )
    return (output, finals, every) if return_all_states else (output, finals)
