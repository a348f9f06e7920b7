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
    """Run a stack of LSTM layers: `FusedLSTM` as a function of its weights, with the same formulas.

    Args:
        input: (T, B, I); or token ids (T, B), int64 or int32; or, with `batch_sizes`, packed rows (N, I) or ids (N,).
        hx: h_0 (L*D, B, P) and c_0 (L*D, B, H); None for zeros.
        layers: the weights, a list over layers of lists over directions of `LayerWeights`.
        return_all_states: whether to return the states of every layer and step. Default: False.
        **options: the keyword arguments below; more about each in `gru`.

    Keyword Args:
        batch_sizes: samples still running at each step, (T,) int64 on the CPU, as in a `PackedSequence`. Default: None.
        lengths: steps of each sample, (B,), from 1 to T, a list or a tensor; past them the output is zero. Default: None.
        resets: where True, the sample starts anew before this step: (T, B) bool, or (N,) with `batch_sizes`. Default: None.
        dropout: probability of dropping an element of the output of every layer but the last, when `training`. Default: 0.
        variational: whether all time steps share the masks of dropout. Default: False.
        training: whether to apply dropout, and zoneout at random. Default: False.
        zoneout: probability that a unit keeps its h of the step before, or a pair, for h and c. Default: 0.
        recurrent_dropout: probability of dropping an element of the candidate g, when `training`. Default: 0.
        memory: "save", or "recompute" to save only the states for the backward, with equal results. Default: "save".
        backend: "auto", "reference", "aten" or "triton"; None leaves it to `use_backend` and FUSEDRNN_BACKEND. Default: None.

    Returns:
        The last layer's output, (T, B, D*P) or packed (N, D*P), and (h_n, c_n), shaped as hx. With `return_all_states` also a
        tuple with one entry per layer, (h, c) at every step, laid out as the output; the last dimension of c is D*H.

    Raises:
        TypeError: hx is not a pair of tensors, and as `gru`.
        ValueError: as `gru`.
        RuntimeError: as `gru`.
        IndexError: as `gru`.
        BackendUnavailableError: as `gru`.

    Example:
        >>> import torch
        >>> from fusedrnn.functional import LayerWeights, lstm
        >>> forward, backward = (LayerWeights(torch.randn(64, 8), torch.randn(64, 16)) for _ in range(2))  # without biases
        >>> output, (h_n, c_n) = lstm(torch.randn(20, 3, 8), None, [[forward, backward]], lengths=[20, 7, 12])
        >>> output.shape, h_n.shape, c_n.shape
        (torch.Size([20, 3, 32]), torch.Size([2, 3, 16]), torch.Size([2, 3, 16]))
    """
    validation.check_options("lstm", options, Options)
    if hx is not None:
        validation.check_pair(hx)
    output, finals, every = run_layers(
        "lstm", input, () if hx is None else tuple(hx), layers, return_all_states=return_all_states, **options
    )
    return (output, finals, every) if return_all_states else (output, finals)
