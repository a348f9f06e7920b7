"""From the arguments of `functional.gru`, `lstm` and `rnn` to a call: the sizes are those of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor

from fusedrnn import option_checks, validation
from fusedrnn.backends import dispatch
from fusedrnn.call import Call, Result, Spec, States, Weights
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.reference.stack import LayerWeights
from fusedrnn.types import Backend, Memory, Zoneout

Layers = Sequence[Sequence[LayerWeights]]


class Options(TypedDict, total=False):
    """The keyword arguments that `gru`, `lstm` and `rnn` share; see `gru`."""

    batch_sizes: Tensor | None
    lengths: Tensor | None
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
    lengths: Tensor | None = None,
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
