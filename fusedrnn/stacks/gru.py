"""`functional.gru`."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

from torch import Tensor

from fusedrnn import option_checks, validation
from fusedrnn.stacks.run import Layers, Options, run_layers


@overload
def gru(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    reset_after: bool = True,
    return_all_states: Literal[False] = False,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]: ...
@overload
def gru(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    reset_after: bool = True,
    return_all_states: Literal[True],
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]: ...
@overload
def gru(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    reset_after: bool = True,
    return_all_states: bool = False,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, tuple[Tensor, ...]]: ...
def gru(
    input: Tensor,
    h_0: Tensor | None,
    layers: Layers,
    *,
    reset_after: bool = True,
    return_all_states: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Run a stack of GRU layers: `FusedGRU` as a function of its weights, with the same formulas.

    Args:
        input: (T, B, I); or token ids (T, B), int64 or int32, which stand for one-hot rows of width I; or, with `batch_sizes`,
            packed rows (N, I) or ids (N,).
        h_0: (L*D, B, H); None for zeros.
        layers: the weights, a list over layers of lists over directions of `LayerWeights`.
        reset_after: True for the GRU of torch.nn, False for that of Cho et al. (2014); see `FusedGRU`. Default: True.
        return_all_states: whether to return the states of every layer and step. Default: False.
        **options: the keyword arguments below.

    Keyword Args:
        batch_sizes: samples still running at each step, (T,) int64 on the CPU, as in a `PackedSequence`. Default: None.
        lengths: steps of each sample, (B,), from 1 to T, in any order: a list, or int32 or int64 on the input's device; past them
            the output is zero. Default: None, T steps for all.
        resets: where True, the sample starts anew from its initial state before this step, and no gradient flows across: (T, B)
            bool, or (N,) with `batch_sizes`. The second direction starts anew after it has passed the step. Default: None.
        dropout: probability of dropping an element of the output of every layer but the last, when `training`. The mask is that of
            `functional.dropout` on the padded (T, B, D*P), also for packed input; torch's generator gives one seed per layer.
            With the backend "auto" on a CPU it is torch.nn's, for packed input that of the rows (N, D*P). Default: 0.
        variational: whether all time steps share the masks of `dropout` and `recurrent_dropout` (Gal & Ghahramani 2016).
            Default: False.
        training: whether to apply dropout, and zoneout at random. Default: False.
        zoneout: probability that a unit keeps its h of the step before; of an LSTM also a pair for h and c. At random when
            `training`, else the expectation (Krueger et al. 2017, see `reference.noise`); from 0 to below 1. Default: 0.
        recurrent_dropout: probability of dropping an element of the candidate, n or g, when `training` (Semeniuta et al. 2016); not
            for an RNN. Default: 0.
        memory: "save" saves the gates of every step for the backward; "recompute" saves only the states and recomputes the gates
            with one product over all steps, with equal results ("reference" uses autograd and always saves).
            Default: "save".
        backend: "auto", "reference", "aten" or "triton"; None leaves it to `use_backend` and FUSEDRNN_BACKEND. Default: None.

    Returns:
        The last layer's output, (T, B, D*H) or packed (N, D*H), and h_n, (L*D, B, H). With `return_all_states` also a tuple with
        one entry per layer, h at every step, laid out as the output, before dropout; the last one is the output.

    Raises:
        TypeError: `layers` or another argument is not of a type above, or its name is unknown.
        ValueError: a dtype, a length or an option is wrong, or the backend does not exist.
        RuntimeError: a size or a device is wrong.
        IndexError: a token id is out of range.
        BackendUnavailableError: the requested backend cannot run the call.

    Example:
        >>> import torch
        >>> from fusedrnn.functional import LayerWeights, gru
        >>> weights = LayerWeights(w_ih=torch.randn(48, 8), w_hh=torch.randn(48, 16), b_ih=torch.zeros(48), b_hh=torch.zeros(48))
        >>> output, h_n = gru(torch.randn(20, 3, 8), None, [[weights]])
        >>> output.shape, h_n.shape
        (torch.Size([20, 3, 16]), torch.Size([1, 3, 16]))
    """
    validation.check_options("gru", options, Options)
    cell = "gru" if option_checks.check_flag("reset_after", reset_after) else "gru_before"
    output, (h_n,), every = run_layers(
        cell, input, () if h_0 is None else (h_0,), layers, return_all_states=return_all_states, **options
    )
    return (output, h_n, tuple(h for (h,) in every)) if return_all_states else (output, h_n)
