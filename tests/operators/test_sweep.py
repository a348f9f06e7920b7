"""fusedrnn::sweep on plain torch operators: equal to the reference, differentiable twice, traceable with dynamic sizes."""

import random

import pytest
import torch

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators import derivatives
from fusedrnn.operators import sweep as ops
from fusedrnn.operators.layer import operator_layer
from fusedrnn.reference.stack import LayerWeights, layer_of
from fusedrnn.reference.sweep import lstm_sweep

CELLS = ("gru", "gru_before", "lstm", "rnn_tanh", "rnn_relu")


def arguments(draw, cell, dtype=torch.float64):
    """Random arguments of the operator: floats, ids or pre-activations, with and without bias and lengths."""
    T, B, D, I, H = (draw.randint(1, 6), draw.randint(1, 5), draw.randint(1, 2), draw.randint(1, 5), draw.randint(1, 6))
    G = NUMBERS[cell].gates
    kind = draw.choice(["floats", "ids", "pre-activations"])

    def leaf(*shape):
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    bias, lengths = draw.random() < 0.7, torch.randint(0, T + 1, (B,)) if draw.random() < 0.5 else None
    inputs = {"floats": lambda: leaf(T, B, I), "ids": lambda: torch.randint(0, I, (T, B))}
    x = inputs.get(kind, lambda: leaf(T, B, D * G * H))()
    if lengths is not None and kind == "floats":
        with torch.no_grad():
            x.mul_((torch.arange(T)[:, None] < lengths)[..., None])  # the caller clears padding
    return [
        x,
        leaf(D, B, H),
        leaf(D, B, H) if cell == "lstm" else None,
        None if kind == "pre-activations" else leaf(D, G * H, I),
        leaf(D, G * H, H),
        leaf(D, G * H) if bias and kind != "pre-activations" else None,
        leaf(D, G * H) if bias else None,
        lengths,
    ]


@pytest.mark.parametrize("keep", [True, False], ids=["save", "recompute"])
@pytest.mark.parametrize("cell", CELLS)
def test_results_and_gradients_equal_the_references(cell, keep):
    draw = random.Random(f"{cell} {keep}")
    for _ in range(40):
        args = arguments(draw, cell)
        expected = derivatives.reference_sweep(ops.Sweep("reference", cell, *args, True))
        got = ops.sweep("unrolled", cell, *args, keep)[: len(expected)]
        leaves = [t for t in args if t is not None and t.is_floating_point()]
        used = [draw.random() < 0.7 for _ in expected]
        used[draw.randrange(len(used))] = True
        weights = [torch.randn_like(t) for t in expected]
        both = []
        for results in (expected, got):
            chosen = [(r, w) for r, w, u in zip(results, weights, used, strict=True) if u]
            outputs, grads = zip(*chosen, strict=True)
            both.append(torch.autograd.grad(outputs, leaves, grads, materialize_grads=True))
        for a, b in zip([*expected, *both[0]], [*got, *both[1]], strict=True):
            torch.testing.assert_close(b, a, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("engine", ["unrolled", "triton"])
@pytest.mark.parametrize("cell", CELLS)
def test_absent_gradients_of_results_are_as_zeros(cell, engine):
    if engine == "triton":
        pytest.importorskip("triton")
    G = NUMBERS[cell].gates
    x, h0, w_ih, w_hh, b_ih, b_hh = leaves = [
        torch.randn(*s, requires_grad=True)
        for s in ((5, 2, 3), (1, 2, 4), (1, G * 4, 3), (1, G * 4, 4), *[(1, G * 4)] * 2)
    ]
    c0 = torch.randn(1, 2, 4, requires_grad=True) if cell == "lstm" else None
    leaves += [c0] if cell == "lstm" else []
    output, *rest = ops.sweep(engine, cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, None, True)[: 4 if cell == "lstm" else 2]
    absent = torch.autograd.grad(output.sin().sum(), leaves, retain_graph=True)
    zeros = torch.autograd.grad(output.sin().sum() + sum(0 * r.sum() for r in rest), leaves)
    for got, expected in zip(absent, zeros, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("lengths", [None, torch.tensor([2, 3])], ids=["full", "lengths"])
@pytest.mark.parametrize("cell", CELLS)
def test_first_and_second_derivatives_by_finite_differences(cell, lengths):
    G, (T, B, D, I, H) = NUMBERS[cell].gates, (3, 2, 2, 2, 2)
    shapes = [(T, B, I), (D, B, H), (D, B, H), (D, G * H, I), (D, G * H, H), (D, G * H), (D, G * H)]
    leaves = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    if cell != "lstm":
        del leaves[2]

    def function(*given):
        full = [*given] if cell == "lstm" else [*given[:2], None, *given[2:]]
        return ops.sweep("unrolled", cell, *full, lengths, True)[: 4 if cell == "lstm" else 2]

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("keep", [True, False], ids=["save", "recompute"])
@pytest.mark.parametrize("engine", ["unrolled", "triton"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_operator_passes_torchs_own_checks(cell, engine, keep):
    if engine == "triton":
        pytest.importorskip("triton")
    draw = random.Random(cell)
    for _ in range(3 if engine == "unrolled" else 1):
        torch.library.opcheck(ops.sweep, (engine, cell, *arguments(draw, cell), keep))


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_the_kernels_results_are_laid_out_as_tracing_promises(cell, steps):
    """After an odd number of steps the state is in the second slot of its buffer; the returned tensor must have no offset."""
    pytest.importorskip("triton")
    G = NUMBERS[cell].gates
    x, h0, w_ih, w_hh = (torch.randn(*s) for s in ((steps, 2, 3), (1, 2, 4), (1, G * 4, 3), (1, G * 4, 4)))
    arguments = ("triton", cell, x, h0, h0.clone() if cell == "lstm" else None, w_ih, w_hh, None, None, None, True)
    torch.library.opcheck(ops.sweep, arguments)
    assert all(result.storage_offset() == 0 for result in ops.sweep(*arguments))


@pytest.mark.parametrize("cell", CELLS)
def test_recompute_keeps_nothing_but_states_and_arguments(cell):
    G, (T, B, D, I, H) = NUMBERS[cell].gates, (9, 4, 2, 3, 5)
    leaf = [torch.randn(*s, requires_grad=True) for s in ((T, B, I), (D, B, H), (D, G * H, I), (D, G * H, H))]
    kept = {}
    for keep in (True, False):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            c0 = leaf[1] if cell == "lstm" else None
            ops.sweep("unrolled", cell, leaf[0], leaf[1], c0, leaf[2], leaf[3], None, None, None, keep)
        kept[keep] = sum(sizes)
    saved = NUMBERS[cell].saved
    assert kept[True] - kept[False] == T * B * D * saved * H


@pytest.mark.parametrize("lengths", [None, torch.tensor([2, 4, 0])], ids=["full", "lengths"])
def test_projected_layer_equals_the_references(lengths):
    T, B, I, H, P = 4, 3, 2, 5, 3
    shapes = [(4 * H, I), (4 * H, P), (4 * H,), (4 * H,), (P, H)] * 2
    leaves = [
        torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in [*shapes, (2, B, P), (2, B, H), (T, B, I)]
    ]
    directions = [LayerWeights(*leaves[:5]), LayerWeights(*leaves[5:10])]
    h0, c0, x = leaves[10:]
    if lengths is not None:
        with torch.no_grad():
            x.mul_((torch.arange(T)[:, None] < lengths)[..., None])

    def textbook(gx, states, w_hh, b_hh, w_hr, lengths):
        output, cells, h_n, c_n = lstm_sweep(gx, *states, w_hh, b_hh, w_hr, lengths)
        return (output, cells), (h_n, c_n)

    both = []
    for layer in (layer_of(textbook), operator_layer("unrolled", "lstm")):
        trace, states = layer(x, (h0, c0), directions, lengths)
        results = [*trace, *states]
        torch.manual_seed(1)
        both.append([*results, *torch.autograd.grad(results, leaves, [torch.randn_like(r) for r in results])])
    for expected, got in zip(*both, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-12)
