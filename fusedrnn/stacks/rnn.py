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
    """Run a stack of vanilla RNN layers: `FusedRNN` as a function of its weights, with the same formula.

    Args:
        input: (T, B, I); or token ids (T, B), int64 or int32; or, with `batch_sizes`, packed rows (N, I) or ids (N,).
        h_0: (L*D, B, H); None for zeros.
        layers: the weights, a list over layers of lists over directions of `LayerWeights`.
        nonlinearity: "tanh" or "relu". Default: "tanh".
        return_all_states: whether to return the states of every layer and step. Default: False.
        **options: the keyword arguments below; more about each in `gru`.

    Keyword Args:
        batch_sizes: samples still running at each step, (T,) int64 on the CPU, as in a `PackedSequence`. Default: None.
        lengths: steps of each sample, (B,), from 1 to T, a list or a tensor; past them the output is zero. Default: None.
        resets: where True, the sample starts anew before this step: (T, B) bool, or (N,) with `batch_sizes`. Default: None.
        dropout: probability of dropping an element of the output of every layer but the last, when `training`. Default: 0.
        variational: whether all time steps share the masks of dropout. Default: False.
        training: whether to apply dropout, and zoneout at random. Default: False.
        zoneout: probability that a unit keeps its h of the step before. Default: 0.
        recurrent_dropout: 0, for there is no candidate whose elements could be dropped. Default: 0.
        memory: "save", or "recompute" to save only the states for the backward, with equal results. Default: "save".
        backend: "auto", "reference", "aten" or "triton"; None leaves it to `use_backend` and FUSEDRNN_BACKEND. Default: None.

    Returns:
        The last layer's output, (T, B, D*H) or packed (N, D*H), and h_n, (L*D, B, H). With `return_all_states` also a tuple with
        one entry per layer, h at every step, laid out as the output, before dropout; the last one is the output.

    Raises:
        TypeError: as `gru`.
        ValueError: the nonlinearity does not exist, and as `gru`.
        RuntimeError: as `gru`.
        IndexError: as `gru`.
        BackendUnavailableError: as `gru`.

    Example:
        >>> import torch
        >>> from fusedrnn.functional import LayerWeights, rnn
        >>> weights = LayerWeights(torch.randn(16, 8), torch.randn(16, 16))
        >>> output, h_n, (every,) = rnn(torch.randn(20, 3, 8), None, [[weights]], return_all_states=True)
        >>> torch.equal(every, output)
        True
    """
    validation.check_options("rnn", options, Options)
    cell = f"rnn_{option_checks.check_nonlinearity(nonlinearity)}"
    output, (h_n,), every = run_layers(
        cell, input, () if h_0 is None else (h_0,), layers, return_all_states=return_all_states, **options
    )
    return (output, h_n, tuple(h for (h,) in every)) if return_all_states else (output, h_n)
