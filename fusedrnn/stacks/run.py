"""From the arguments of `functional.gru`, `lstm` and `rnn` to a call: the sizes are those of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from torch import Tensor

from fusedrnn import option_checks, validation
from fusedrnn.backends import dispatch
from fusedrnn.call import Call, Result, Spec, States, Weights
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.length_checks import as_lengths
from fusedrnn.reference.stack import LayerWeights
from fusedrnn.types import Backend, Lengths, Memory, Zoneout

Layers = Sequence[Sequence[LayerWeights]]


class Options(TypedDict, total=False):
    """The keyword arguments that `gru`, `lstm` and `rnn` share; see `gru`."""

    batch_sizes: Tensor | None
    lengths: Lengths | None
    resets: Tensor | None
    dropout: float
    variational: bool
    training: bool
    zoneout: Zoneout
    recurrent_dropout: float
    memory: Memory
    backend: Backend | None


def run_layers(
    cell: str,
    input: Tensor,
    states: States,
    layers: Layers,
    *,
    batch_sizes: Tensor | None = None,
    lengths: Lengths | None = None,
    resets: Tensor | None = None,
    dropout: float = 0.0,
    variational: bool = False,
    zoneout: Zoneout = 0.0,
    recurrent_dropout: float = 0.0,
    training: bool = False,
    return_all_states: bool = False,
    memory: Memory = "save",
    backend: Backend | None = None,
) -> Result:
    """Run `cell`, with the sizes taken from the weights of the first layer."""
    _check_layers(layers)
    option_checks.check_flag("variational", variational)
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
    lengths = None if lengths is None else as_lengths(lengths, input.device)
    call = Call(
        spec, Weights.of(layers), input, states, batch_sizes, lengths, training, return_all_states, resets=resets
    )
    return dispatch.run(call, backend)


def _check_layers(layers: Any) -> None:
    """Raise a TypeError if `layers` is not a sequence over layers of a sequence over directions of `LayerWeights`."""
    expected = (
        "layers: expected a list over layers of lists over directions, as [[LayerWeights(w_ih, w_hh, b_ih, b_hh)]]"
    )
    if isinstance(layers, (Tensor, LayerWeights)) or not isinstance(layers, Sequence) or not layers:
        raise TypeError(f"{expected}, got {_described(layers)}")
    for depth, layer in enumerate(layers):
        if isinstance(layer, (Tensor, LayerWeights)) or not isinstance(layer, Sequence) or not layer:
            raise TypeError(f"{expected}, got {_described(layer)} for layer {depth}")
        for direction in layer:
            if not isinstance(direction, LayerWeights):
                raise TypeError(f"{expected}, got {_described(direction)} for a direction of layer {depth}")


def _described(given: Any) -> str:
    """The type of `given`, and whether it is empty."""
    empty = isinstance(given, Sequence) and not given
    return f"an empty {type(given).__name__}" if empty else type(given).__name__
