"""`functional.rnn`."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

from torch import Tensor

from fusedrnn import option_checks, validation
from fusedrnn.stacks.run import Layers, Options, run_layers
from fusedrnn.types import Nonlinearity


@overload
def rnn(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    nonlinearity: Nonlinearity = "tanh",
    return_all_states: Literal[False] = False,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]: ...
@overload
def rnn(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    nonlinearity: Nonlinearity = "tanh",
    return_all_states: Literal[True],
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]: ...
@overload
def rnn(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    nonlinearity: Nonlinearity = "tanh",
    return_all_states: bool = False,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, tuple[Tensor, ...]]: ...
def rnn(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    nonlinearity: Nonlinearity = "tanh",
    return_all_states: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Run a stack of vanilla RNN layers (Elman 1990): h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or max(., 0) in place of tanh.

    Arguments, results and errors as for `gru`, but without `reset_after` and with `nonlinearity`, "tanh" or "relu"; any other is a
    ValueError. With ReLU nothing bounds h.
    """
    validation.check_options("rnn", options, Options)
    cell = f"rnn_{option_checks.check_nonlinearity(nonlinearity)}"
    output, (h_n,), every = run_layers(
        cell, input, () if h_0 is None else (h_0,), layers, return_all_states=return_all_states, **options
    )
    return (output, h_n, tuple(h for (h,) in every)) if return_all_states else (output, h_n)
