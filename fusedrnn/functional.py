"""Recurrent layers and dropout as pure functions of tensors.

Symbols: T steps, B samples, I inputs, L layers, D directions (1 or 2), H units, P outputs per direction (H without projection), G
gates (GRU r z n, LSTM i f g o, RNN one). Weights of a direction are a `LayerWeights`: w_ih (G*H, I or D*P), w_hh (G*H, P), biases
(G*H,) or None, w_hr (P, H) or None. With N heads w_hh is (N, G*H/N, H/N): each block of H/N units sees its own state only. With
layer normalisation there are gain_ih and gain_hh (G*H,), and of an LSTM gain_c and bias_c (H,) (`reference.norm`). All floating-
point tensors share one dtype (float64, float32, float16 or bfloat16; mixed under autocast) and one device; results have the input's
dtype. Under autocast they have the dtype of torch.nn's module on the device: that of autocast; on a CPU that of the initial states,
by default the input's, except for an RNN, and for an LSTM without lengths, which oneDNN runs in that of autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

from torch import Tensor

from fusedrnn import option_checks, validation
from fusedrnn.backends import dispatch
from fusedrnn.call import Call, Result, Spec, States, Weights
from fusedrnn.dropout import bias_relu_dropout as bias_relu_dropout
from fusedrnn.dropout import dropout as dropout
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators.penalty import l2_penalty as l2_penalty
from fusedrnn.reference.stack import LayerWeights

Layers = Sequence[Sequence[LayerWeights]]


class Options(TypedDict, total=False):
    """The keyword arguments that `gru`, `lstm` and `rnn` share; see `gru`."""

    batch_sizes: Tensor | None
    lengths: Tensor | None
    resets: Tensor | None
    dropout: float
    variational: bool
    training: bool
    return_all_states: bool
    zoneout: float | tuple[float, float]
    recurrent_dropout: float
    memory: str
    backend: str | None


def gru(
    input: Tensor, h_0: Tensor | None, layers: Layers, *, reset_after: bool = True, **options: Unpack[Options]
) -> tuple[Any, ...]:
    """Run a stack of GRU layers.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)) as in torch.nn and cuDNN,
    or n = tanh(W_in x + b_in + W_hn (r * h) + b_hn) with `reset_after=False` (Cho et al. 2014); h' = (1 - z) n + z h.

    Args:
        input: (T, B, I); or token ids (T, B), int64 or int32, which stand for one-hot rows of width I; or, with `batch_sizes`,
            packed rows (N, I) or ids (N,).
        h_0: (L*D, B, H); None for zeros.
        layers: weights, a sequence over layers of a sequence over directions.
        reset_after: True for the GRU of torch.nn, False for that of Cho et al. (2014).
        **options: keyword arguments, the same for `lstm` and `rnn`.

    Keyword Args:
        batch_sizes: samples still running at each step, (T,) int64 on the CPU, as in a `PackedSequence`. Default: None.
        lengths: steps of each sample, (B,) int32 or int64 from 1 to T, in any order, on the input's device; past them the output
            is zero. Default: None, T steps for all.
        resets: where True, the sample starts anew from its initial state before this step, and no gradient flows across: (T, B)
            bool, or (N,) with `batch_sizes`. The second direction starts anew after it has passed the step. Default: None.
        dropout: probability of dropping an element of the output of every layer but the last, when `training`. The mask is that of
            `functional.dropout` on the padded (T, B, D*P), also for packed input; torch's generator gives one seed per layer.
            With the backend "auto" on a CPU it is torch.nn's, for packed input that of the rows (N, D*P). Default: 0.
        variational: whether all time steps share the masks of `dropout` and `recurrent_dropout` (Gal & Ghahramani 2016).
            Default: False.
        zoneout: probability that a unit keeps its h of the step before; of an LSTM also a pair for h and c. At random when
            `training`, else the expectation (Krueger et al. 2017, see `reference.noise`); from 0 to below 1. Default: 0.
        recurrent_dropout: probability of dropping an element of the candidate, n or g, when `training` (Semeniuta et al. 2016); not
            for an RNN. Default: 0.
        training: whether to apply dropout, and zoneout at random. Default: False.
        return_all_states: whether to return the states of every layer and step. Default: False.
        memory: "save" saves the gates of every step for the backward; "recompute" saves only the states and recomputes the gates
            with one product over all steps, with equal results ("reference" uses autograd and always saves).
            Default: "save".
        backend: "auto", "reference", "aten" or "triton"; None leaves it to `use_backend` and FUSEDRNN_BACKEND. Default: None.

    Returns:
        The last layer's output, (T, B, D*H) or packed (N, D*H), and h_n, (L*D, B, H). With `return_all_states` a third value: a
        tuple with one entry per layer, h at every step, laid out as the output, before dropout; the last one is the output.

    Raises:
        RuntimeError: a size or device is wrong; ValueError: a dtype or length is wrong, or the backend does not exist;
            IndexError: a token id is out of range; BackendUnavailableError: the requested backend cannot run the call.
    """
    validation.check_options("gru", options, Options)
    cell = "gru" if reset_after else "gru_before"
    output, (h_n,), every = _run(cell, input, () if h_0 is None else (h_0,), layers, **options)
    return (output, h_n, tuple(h for (h,) in every)) if options.get("return_all_states") else (output, h_n)


def lstm(
    input: Tensor, hx: tuple[Tensor, Tensor] | None, layers: Layers, **options: Unpack[Options]
) -> tuple[Any, ...]:
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
    output, finals, every = _run("lstm", input, () if hx is None else tuple(hx), layers, **options)
    return (output, finals, every) if options.get("return_all_states") else (output, finals)


def rnn(
    input: Tensor, h_0: Tensor | None, layers: Layers, *, nonlinearity: str = "tanh", **options: Unpack[Options]
) -> tuple[Any, ...]:
    """Run a stack of vanilla RNN layers (Elman 1990): h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or max(., 0) in place of tanh.

    Arguments, results and errors as for `gru`, but without `reset_after` and with `nonlinearity`, "tanh" or "relu"; any other is a
    ValueError. With ReLU nothing bounds h.
    """
    validation.check_options("rnn", options, Options)
    cell = f"rnn_{option_checks.check_nonlinearity(nonlinearity)}"
    output, (h_n,), every = _run(cell, input, () if h_0 is None else (h_0,), layers, **options)
    return (output, h_n, tuple(h for (h,) in every)) if options.get("return_all_states") else (output, h_n)


def _run(
    cell: str,
    input: Tensor,
    states: States,
    layers: Layers,
    *,
    batch_sizes: Tensor | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    dropout: float = 0.0,
    variational: bool = False,
    zoneout: float | tuple[float, float] = 0.0,
    recurrent_dropout: float = 0.0,
    training: bool = False,
    return_all_states: bool = False,
    memory: str = "save",
    backend: str | None = None,
) -> Result:
    """Run `cell`, with the sizes taken from the weights of the first layer."""
    input = validation.as_ids(input, 3 if batch_sizes is None else 2)
    first = layers[0][0]
    if first.w_hh.dim() < 2:
        raise RuntimeError(f"w_hh of layer 0: expected 2 dimensions, or 3 with heads, got {first.w_hh.dim()}")
    heads = len(first.w_hh) if first.w_hh.dim() == 3 else 1
    hidden_size = heads * first.w_hh.shape[-2] // NUMBERS[cell].gates
    spec = Spec(
        cell,
        input_size=first.w_ih.shape[1],
        hidden_size=hidden_size,
        output_size=hidden_size if first.w_hr is None else len(first.w_hr),
        num_layers=len(layers),
        directions=len(layers[0]),
        dropout=dropout,
        variational=variational,
        memory=memory,
        zoneout=option_checks.check_zoneout(zoneout, has_c=NUMBERS[cell].has_c),
        recurrent_dropout=recurrent_dropout,
        heads=heads,
        layer_norm=any(gain is not None for gain in first[5:]),
    )
    call = Call(
        spec, Weights.of(layers), input, states, batch_sizes, lengths, training, return_all_states, resets=resets
    )
    return dispatch.run(call, backend)
