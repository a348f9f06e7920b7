"""Derivatives of `fusedrnn::sweep`: the first by `fusedrnn::sweep_backward`, the second by differentiating the reference.

The reference has the same formulas and is differentiated by autograd, so higher derivatives follow from the second.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn.operators.arguments import DIFFERENTIABLE, Gradients, Packed, Sweep, split
from fusedrnn.operators.time_parallel import input_side
from fusedrnn.reference import counter_dropout as plain
from fusedrnn.reference.cells import SWEEPS

Results = tuple[Tensor | None, ...]
OTHERS = ("lengths", "seed", "resets", "noise_seed")
"""The tensors among the arguments that have no gradient."""
TENSORS = (*DIFFERENTIABLE, *OTHERS)
"""The arguments that are saved as tensors."""
RESULTS = ("d_output", "d_h_n", "d_cells", "d_c_n", "d_dropped")
"""Gradients of the results: of those of `reference_sweep`, in its order, and of the dropped output."""


def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Save the arguments and results of a sweep that `backward` needs."""
    a = Packed(*inputs)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[4])
    absent: dict[str, Any] = dict.fromkeys(TENSORS)
    ctx.others = a._replace(**absent)
    ctx.save_for_backward(*(getattr(a, name) for name in TENSORS), output[0], output[2], output[4])


def backward(ctx: Any, d_output: Any, d_h_n: Any, d_cells: Any, d_c_n: Any, _: None, d_dropped: Any) -> Results:
    """Gradients of the arguments of a sweep."""
    *tensors, output, cells, gates = ctx.saved_tensors
    a = ctx.others._replace(**dict(zip(TENSORS, tensors, strict=True)))
    needed = dict(zip(Packed._fields, ctx.needs_input_grad, strict=False))  # trailing defaults are left out
    d_cells, d_c_n = (None, None) if a.c0 is None else (d_cells, d_c_n)
    g = Gradients(output, cells, gates, d_output, d_h_n, d_cells, d_c_n, d_dropped, needed["x"])
    gradients = dict(zip(DIFFERENTIABLE, torch.ops.fusedrnn.sweep_backward.default(*a, *g), strict=True))
    return tuple(gradients[n] if needed.get(n) and getattr(a, n) is not None else None for n in Packed._fields)


def setup_second(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Save what `second_backward` needs of a sweep and its `Gradients`."""
    a, g = split(inputs)
    absent: dict[str, Any] = dict.fromkeys(TENSORS)
    ctx.others = a._replace(**absent)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*(getattr(a, name) for name in TENSORS), *(getattr(g, name) for name in RESULTS))


def second_backward(ctx: Any, *seconds: Tensor | None) -> Results:
    """Differentiate the reference's gradients with respect to the inputs of the sweep and the gradients of its results.

    If a higher derivative is needed, grad mode is on, and the result stays attached to the graph.
    """
    further = torch.is_grad_enabled()
    saved = dict(zip((*TENSORS, *RESULTS), ctx.saved_tensors, strict=True))
    a = ctx.others._replace(**{name: saved.pop(name) for name in OTHERS})
    with torch.enable_grad():
        given = {name: _variable(tensor, further) for name, tensor in saved.items()}
        inputs = [given[name] for name in DIFFERENTIABLE]
        named = a._replace(**dict(zip(DIFFERENTIABLE, inputs, strict=True))).by_name()
        expected = reference_sweep(named)
        results = dict(zip(RESULTS, expected, strict=False))
        if given["d_dropped"] is not None:
            results["d_dropped"] = plain.counter_dropout(results["d_output"], named.p, a.seed, int(named.shared))
        pairs = [(result, d) for name, result in results.items() if (d := given[name]) is not None]
        leaves = {
            name: t for name, t in zip(DIFFERENTIABLE, inputs, strict=True) if t is not None and t.is_floating_point()
        }
        first = torch.autograd.grad(
            [result for result, _ in pairs],
            list(leaves.values()),
            [d for _, d in pairs],
            create_graph=True,
            materialize_grads=True,
        )
    gradients = dict(zip(leaves, first, strict=True))
    used = [
        (g, second)
        for name, second in zip(DIFFERENTIABLE, seconds, strict=True)
        if second is not None and (g := gradients.get(name)) is not None and g.requires_grad
    ]
    if not used:
        return (None,) * len(Packed._fields + Gradients._fields)
    variables = {name: t for name, t in given.items() if t is not None and t.is_floating_point()}
    found = torch.autograd.grad(
        [g for g, _ in used],
        list(variables.values()),
        [second.reshape(g.shape) for g, second in used],
        allow_unused=True,
        create_graph=further,
    )
    by_name = dict(zip(variables, found, strict=True))
    return tuple(by_name.get(name) for name in Packed._fields + Gradients._fields)


def reference_sweep(a: Sweep) -> tuple[Tensor, ...]:
    """Run the reference on the arguments of a sweep: output, h_n and, for a cell with c, every c_t and c_n."""
    states = (a.h0,) if a.c0 is None else (a.h0, a.c0)
    gx = input_side(a.x, a.w_ih, a.b_ih, len(a.w_hh))
    options: dict[str, Any] = {"resets": a.resets, "noise": a.noise, "heads": a.heads}
    if a.gains is not None:
        options["gains"] = a.gains
    trace, finals = SWEEPS[a.cell](gx, states, a.w_hh, a.b_hh, None, a.lengths, **options)
    return tuple(tensor for pair in zip(trace, finals, strict=True) for tensor in pair)


def _variable(tensor: Tensor | None, attached: bool) -> Tensor | None:
    """The tensor to differentiate with respect to: a new leaf or, if `attached`, a view that stays in the graph of `tensor`."""
    if tensor is None or not tensor.is_floating_point():
        return tensor
    if attached and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()
