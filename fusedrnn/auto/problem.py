"""Random buffers for a kind of call, which a measurement runs on: nothing of the user's, and none of torch's global generators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fusedrnn.auto.kind import Kind
from fusedrnn.call import Call, Result, Spec, Weights

Engine = Callable[[Call], Result]
SEED, DROPOUT = 20, 0.5


class Problem(NamedTuple):
    """A call on random buffers, the tensors that get gradients, and the upstream gradients of output and final states."""

    call: Call
    leaves: tuple[Tensor, ...]
    upstream: tuple[Tensor, ...]


def problem(kind: Kind, device: torch.device, steps: int, batch: int) -> Problem:
    """A call of `kind` with other numbers of steps and samples."""
    random = torch.Generator(device=device).manual_seed(SEED)
    spec, T, B, dtype = spec_of(kind), steps, batch, kind.torch_dtype

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=device, dtype=dtype)

    weights = Weights(_flat(kind, device, random), kind.directions, bias=kind.bias, projected=kind.projected)
    rows: tuple[int, ...] = (T, B)
    lengths, batch_sizes = None, None
    if kind.layout != "padded":
        lengths = torch.randint(1, T + 1, (B,), generator=random, device=device)
        lengths[0] = T
    if kind.layout == "packed" and lengths is not None:
        batch_sizes = (lengths.cpu() > torch.arange(T, device="cpu").unsqueeze(1)).sum(1)
        rows, lengths = (int(batch_sizes.sum()),), None
    ids = torch.randint(0, kind.input_size, rows, generator=random, device=device)
    input = ids if kind.ids else draw(*rows, kind.input_size)
    states = tuple(draw(*shape) for shape in spec.state_shapes(B))
    seeds = None
    if kind.dropout:
        seeds = torch.randint(1 << 40, (kind.layers - 1,), generator=random, device=device)
    call = Call(spec, weights, input, states, batch_sizes, lengths, kind.training, kind.all_states, seeds)
    upstream = (draw(*rows, kind.directions * kind.output_size), *(draw(*state.shape) for state in states))
    return _with_leaves(call, upstream)


def exactly(given: Problem) -> Problem:
    """The same numbers in float64."""
    call, weights = given.call, given.call.weights
    flat = [w.double() for w in weights.flat]
    doubled = Weights(flat, weights.directions, bias=weights.bias, projected=weights.projected)
    input = call.input if call.is_ids else call.input.double()
    states = tuple(state.double() for state in call.states)
    upstream = tuple(gradient.double() for gradient in given.upstream)
    return _with_leaves(call._replace(weights=doubled, input=input, states=states), upstream)


def results(engine: Engine, given: Problem) -> list[tuple[str, Tensor]]:
    """What an engine computes, by name: output, final states, states of all steps and, for training, every gradient."""
    call, leaves, upstream = given
    with torch.set_grad_enabled(call.training):
        output, finals, every = engine(call)
        found = [("output", output), *zip(("h_n", "c_n"), finals, strict=False)]
        found += [(f"states of layer {k}", state) for k, states in enumerate(every) for state in states]
        if call.training:
            gradients = torch.autograd.grad([output, *finals], leaves, upstream, materialize_grads=True)
            found += [(f"gradient {k}", gradient) for k, gradient in enumerate(gradients)]
    return [(name, value.detach()) for name, value in found]


def spec_of(kind: Kind) -> Spec:
    """The `Spec` of a kind."""
    return Spec(
        kind.cell,
        kind.input_size,
        kind.hidden_size,
        kind.output_size,
        kind.layers,
        kind.directions,
        DROPOUT if kind.dropout else 0.0,
        kind.dropout == "shared",
        "recompute" if kind.recompute else "save",
    )


def bytes_of(kind: Kind, steps: int, batch: int) -> int:
    """About as many bytes as both implementations hold at once, with their results."""
    spec = spec_of(kind)
    per_unit = 3 * spec.gates + 8 if kind.training else spec.gates + 4
    inputs = 1 if kind.ids else 2 * kind.input_size
    per_step = inputs + kind.layers * kind.directions * kind.hidden_size * per_unit
    rows, width = spec.gates * kind.hidden_size, kind.directions * kind.output_size
    weights = (
        kind.directions * rows * (kind.input_size + kind.output_size + (kind.layers - 1) * (width + kind.output_size))
    )
    copies = 4 if kind.training else 1  # and three sets of gradients
    return (steps * batch * per_step + copies * weights) * kind.torch_dtype.itemsize


def _with_leaves(call: Call, upstream: tuple[Tensor, ...]) -> Problem:
    leaves = (*(() if call.is_ids else (call.input,)), *call.states, *call.weights.flat)
    for leaf in leaves:
        leaf.requires_grad_(call.training)
    return Problem(call, leaves, upstream)


def _flat(kind: Kind, device: torch.device, random: torch.Generator) -> list[Tensor]:
    """Weights as torch initialises them, in one block of memory where cuDNN wants it."""
    k = kind.hidden_size**-0.5
    spec, kept = spec_of(kind), (True, True, kind.bias, kind.bias, kind.projected, *[False] * 4)

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, device=device, dtype=kind.torch_dtype).uniform_(-k, k, generator=random)

    every = [spec.weight_shapes(layer) for layer in range(kind.layers) for _ in range(kind.directions)]
    flat = [draw(shape) for shapes in every for shape, keep in zip(shapes, kept, strict=True) if keep]
    if device.type != "cuda" or (kind.projected and kind.output_size == kind.hidden_size):
        return flat
    size = kind.output_size if kind.projected else 0
    made = nn.RNNBase(
        kind.cell.removesuffix("_before").upper(),
        kind.input_size,
        kind.hidden_size,
        kind.layers,
        bias=kind.bias,
        bidirectional=kind.directions == 2,
        proj_size=size,
        device="meta",
        dtype=kind.torch_dtype,
    ).to_empty(device=device)
    parameters: list[Any] = made._flat_weights
    with torch.no_grad():
        for parameter, value in zip(parameters, flat, strict=True):
            parameter.copy_(value)
    made.flatten_parameters()
    return [parameter.detach() for parameter in parameters]
