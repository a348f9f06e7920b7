"""Dropout inside the sweeps: bit-identical to dropout of the output in a separate kernel, with the same gradient."""

import pytest
import torch

pytest.importorskip("triton")

from sweep_cases import FORMS, problem

from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.kernels import pointwise, sweeps
from fusedrnn.operators import sweep as ops
from fusedrnn.operators.arguments import Sweep
from fusedrnn.operators.results import Dropout

CELLS = ("gru", "gru_before", "lstm")
SEED = torch.tensor([-987654321])
SHARED = pytest.mark.parametrize("shared", [False, True], ids=["each step", "shared"])


def given(cell, dtype, lengths=True, H=17):
    p = problem(cell, 2, 3, H, 2, True, lengths, dtype)
    return {k: v if v is None or k == "lengths" else v.to(dtype) for k, v in p.items()}


@SHARED
@pytest.mark.parametrize(
    "form", ["one program", "registers", "streamed, 32 units"]
)  # whose own units and samples differ
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.usefixtures("poisoned")
def test_a_sweep_drops_and_undrops_as_a_pass_of_its_own(cell, form, shared):
    q, row, drop = given(cell, torch.float32), FORMS[form](17), Dropout(SEED, 0.4, shared)
    args = [q[k] for k in ("gx", "h0", "c0", "w_hh", "b_hh", "lengths")]
    plain = sweeps.forward(cell, *args, row, save=True)
    done = sweeps.forward(cell, *args, row, save=True, drop=drop)
    assert plain.dropped is None
    assert torch.equal(done.output, plain.output)
    assert torch.equal(done.h_n, plain.h_n)
    assert torch.equal(done.dropped, pointwise.dropout(done.output, 0.4, SEED, int(shared)))

    d_dropped, d_h_n = torch.randn_like(done.output), torch.randn_like(done.h_n)
    rest = [d_h_n, None, torch.randn_like(d_h_n) if cell == "lstm" else None, row]
    saved = [done.gates, done.output, done.cells, q["h0"], q["c0"], q["w_hh"], q["lengths"]]
    expected = sweeps.backward(cell, *saved, pointwise.dropout(d_dropped, 0.4, SEED, int(shared)), *rest)
    got = sweeps.backward(cell, *saved, d_dropped, *rest, drop)
    for a, b in zip(got, expected, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_every_dtype_rounds_once(dtype):
    q, drop = given("gru", dtype, lengths=False), Dropout(SEED, 0.3, False)
    args = [q[k] for k in ("gx", "h0", "c0", "w_hh", "b_hh", "lengths")]
    done = sweeps.forward("gru", *args, save=False, drop=drop)
    assert torch.equal(done.dropped, pointwise.dropout(done.output, 0.3, SEED))


@SHARED
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["unrolled", "triton"])
def test_the_operator_drops_and_is_differentiable(cell, engine, shared):
    q = given(cell, torch.float64, lengths=False, H=3)
    leaves = [q[k].flatten(2) if k == "gx" else q[k] for k in ("gx", "h0", "c0", "w_hh", "b_hh")]
    leaves = [None if v is None else v.requires_grad_() for v in leaves]

    def run(seed):
        x, h0, c0, w_hh, b_hh = leaves
        return ops.sweep(
            *Sweep(engine, cell, x, h0, c0, None, w_hh, None, b_hh, None, True, seed, 0.4, shared).packed()
        )

    results, (output, *_) = run(SEED), run(None)
    dropped = pointwise.dropout(output.detach(), 0.4, SEED, int(shared))
    assert torch.equal(results[5], dropped)
    weights = torch.randn_like(output)
    variables = [v for v in leaves if v is not None]
    mask = (dropped != 0).double() / 0.6
    alone = torch.autograd.grad(results[5], variables, weights, retain_graph=True, materialize_grads=True)
    expected = torch.autograd.grad(output, variables, weights * mask, retain_graph=True, materialize_grads=True)
    for a, b in zip(alone, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
    both = torch.autograd.grad([results[5], results[0]], variables, [weights, weights], materialize_grads=True)
    expected = torch.autograd.grad(output, variables, weights * (mask + 1), materialize_grads=True)
    for a, b in zip(both, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives_through_the_dropped_output(cell):
    shapes = [(2, 1, 8 if cell == "lstm" else 6), (1, 1, 2), (1, 8 if cell == "lstm" else 6, 2)]
    x, h0, w_hh = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in shapes)

    def function(x, h0, w_hh):
        c0 = h0 * 2 if cell == "lstm" else None
        arguments = Sweep("unrolled", cell, x, h0, c0, None, w_hh, None, None, None, True, SEED, 0.4, False)
        results = ops.sweep(*arguments.packed())
        return results[5], results[1]

    assert torch.autograd.gradcheck(function, (x, h0, w_hh))
    assert torch.autograd.gradgradcheck(function, (x, h0, w_hh))


@pytest.mark.parametrize("engine", ["unrolled", "triton"])
def test_the_operator_with_dropout_passes_torchs_own_checks(engine):
    x, h0, w_hh = (torch.randn(*s, requires_grad=True) for s in ((4, 2, 9), (1, 2, 3), (1, 9, 3)))
    arguments = Sweep(engine, "gru", x, h0, None, None, w_hh, None, None, None, True, SEED, 0.4, True)
    torch.library.opcheck(ops.sweep, tuple(arguments.packed()))


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_the_kernels_need_no_pass_of_their_own_between_layers(kind, monkeypatch):
    passes = []
    original = pointwise.dropout
    monkeypatch.setattr(pointwise, "dropout", lambda *a, **k: passes.append(1) or original(*a, **k))
    module = kind(3, 5, 3, dropout=0.5, backend="triton")
    output, _ = module(torch.randn(3, 2, 3))
    output.sum().backward()
    assert not passes
    module.dropout = 1.0
    module(torch.randn(3, 2, 3))
    assert len(passes) == 2
