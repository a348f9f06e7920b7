"""The sweeps in plain torch operators against the reference's: every result and gradient, in every dtype, padding and layout."""

import pytest
import torch

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators import unrolled
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep, rnn_sweep

CELLS = ("gru", "gru_before", "lstm", "rnn_tanh", "rnn_relu")
LENGTHS = {"full": None, "lengths": torch.tensor([7, 1, 4, 6], dtype=torch.int32)}


def arguments(cell, dtype, T=7, B=4, D=2, H=5, bias=True):
    G = NUMBERS[cell].gates
    c0 = torch.randn(D, B, H, dtype=dtype) if cell == "lstm" else None
    w_hh = torch.randn(D, G * H, H, dtype=dtype) / 2
    b_hh = torch.randn(D, G * H, dtype=dtype) if bias else None
    return torch.randn(T, B, D, G * H, dtype=dtype), torch.randn(D, B, H, dtype=dtype), c0, w_hh, b_hh


def reference(cell, gx, h0, c0, w_hh, b_hh, lengths):
    """output, h_n and, for the LSTM, cells, c_n."""
    if cell == "lstm":
        output, cells, h_n, c_n = lstm_sweep(gx, h0, c0, w_hh, b_hh, None, lengths)
        return output, h_n, cells, c_n
    if cell.startswith("rnn"):
        return rnn_sweep(gx, h0, w_hh, b_hh, lengths, nonlinearity=cell[4:])
    return gru_sweep(gx, h0, w_hh, b_hh, lengths, reset_after=cell == "gru")


def gradients(cell, args, lengths, given):
    """The reference's gradients of gx, h0 and c0."""
    leaves = [None if a is None else a.clone().requires_grad_() for a in args]
    wanted = [leaf for leaf in leaves[:3] if leaf is not None]
    return torch.autograd.grad(reference(cell, *leaves, lengths), wanted, given)


def unrolled_gradients(cell, args, lengths, given):
    """The same from the unrolled sweeps, and what the forward saved."""
    gx, h0, c0, w_hh, b_hh = args
    done = unrolled.forward(cell, gx, h0, c0, w_hh, b_hh, lengths, save=True)
    d_output, d_h_n, d_cells, d_c_n = (*given, None, None)[:4]
    back = unrolled.backward(
        cell, done.gates, done.output, done.cells, h0, c0, w_hh, lengths, d_output, d_h_n, d_cells, d_c_n
    )
    dgx = back.dgates
    if cell == "gru":  # dn dr dz dm
        dn, dr, dz, _ = dgx.chunk(4, -1)
        dgx = torch.cat([dr, dz, dn], -1)
    return done, [g for g in (dgx, back.dh0, back.dc0) if g is not None]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_result_and_gradient_equals_the_references(cell, lengths, directions, bias):
    args = arguments(cell, torch.float64, D=directions, bias=bias)
    expected = reference(cell, *args, lengths)
    given = [torch.randn_like(r) for r in expected]
    done, found = unrolled_gradients(cell, args, lengths, given)
    results = [r for r in (done.output, done.h_n, done.cells, done.c_n) if r is not None]
    for got, want in zip([*results, *found], [*expected, *gradients(cell, args, lengths, given)], strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("filler", [float("nan"), float("inf")], ids=["nan", "inf"])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_reaches_nothing(cell, filler):
    lengths = LENGTHS["lengths"]
    args = arguments(cell, torch.float64)
    padding = torch.arange(7)[:, None] >= lengths
    given = [torch.randn_like(r) for r in reference(cell, *args, lengths)]
    clean, expected = unrolled_gradients(cell, args, lengths, given)
    args[0][padding] = filler
    for gradient in (given[0], *given[2:3]):  # those that have padding
        gradient[padding] = filler
    done, found = unrolled_gradients(cell, args, lengths, given)
    for got, want in zip([*done[:4], *found], [*clean[:4], *expected], strict=True):
        assert (got is None and want is None) or torch.equal(got, want)
    assert not done.output[padding].any()
    assert not found[0][padding].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cell", CELLS)
def test_the_error_is_a_few_roundings_of_the_dtype(cell, dtype):
    args = arguments(cell, dtype, T=9, B=5, H=33)
    if cell.startswith("rnn"):  # no chaos, and nothing near the corner of ReLU, where its gradient jumps
        gx, h0, _, w_hh, b_hh = args
        args = (gx + 5 * gx.sign(), h0, None, w_hh / 8, b_hh)
    exact = [None if a is None else a.double() for a in args]
    expected = reference(cell, *exact, None)
    given = [torch.randn_like(r).to(dtype) for r in expected]
    done, found = unrolled_gradients(cell, args, None, given)
    wanted = gradients(cell, exact, None, [g.double() for g in given])
    results = [r for r in (done.output, done.h_n, done.cells, done.c_n) if r is not None]
    plain = [*reference(cell, *args, None), *gradients(cell, args, None, given)]
    for got, want, other in zip([*results, *found], [*expected, *wanted], plain, strict=True):
        assert got.dtype == dtype
        error, budget = ((r.double() - want).norm().item() for r in (got, other))
        assert error <= 1.5 * budget + torch.finfo(dtype).eps * want.norm().item()


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_may_be_expanded_and_states_strided(cell):
    gx, h0, c0, w_hh, b_hh = arguments(cell, torch.float64)
    strided = [None if s is None else s.transpose(0, 1).contiguous().transpose(0, 1) for s in (h0, c0)]
    given = [
        torch.randn((), dtype=torch.float64).expand(r.shape) for r in reference(cell, gx, h0, c0, w_hh, b_hh, None)
    ]
    _, expected = unrolled_gradients(cell, (gx, h0, c0, w_hh, b_hh), None, [g.contiguous() for g in given])
    _, found = unrolled_gradients(cell, (gx, *strided, w_hh, b_hh), None, given)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-15)


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_given_is_modified_and_nothing_returned_aliases_it(cell):
    args = arguments(cell, torch.float64, T=1)
    before = [None if a is None else a.clone() for a in args]
    given = [torch.randn_like(r) for r in reference(cell, *args, None)]
    done, found = unrolled_gradients(cell, args, None, given)
    kept = done.gates.clone()
    unrolled_gradients(cell, args, None, given)
    assert torch.equal(done.gates, kept)
    assert all(a is None or torch.equal(a, b) for a, b in zip(args, before, strict=True))
    pointers = [t.untyped_storage().data_ptr() for t in (*args, *given, *done, *found) if t is not None]
    assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("cell", CELLS)
def test_without_saving_no_gates_are_kept(cell):
    args = arguments(cell, torch.float32)
    kept, bare = (unrolled.forward(cell, *args, None, save=save) for save in (True, False))
    assert bare.gates is None
    assert torch.equal(bare.output, kept.output)
