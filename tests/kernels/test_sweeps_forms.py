"""The sweeps of each cell in each form against the reference in float64: memory poisoned, inputs inside NaN, sizes ragged."""

import itertools

import pytest
import torch

pytest.importorskip("triton")

from sweep_cases import FORMS, check, problem, served, textbook

from fusedrnn.kernels import sweeps


def some_slow():
    """Every cell and form with lengths, and two forms without; in the long run all, and all of the cell of two phases."""
    for cell, form in served():
        slow = pytest.mark.slow if cell == "gru_before" and form not in ("alone", "registers") else []
        yield pytest.param(cell, form, True, id=f"{cell}-{form}-lengths", marks=slow)
        slow = [] if cell in ("gru", "lstm") and form in ("alone", "registers") else pytest.mark.slow
        yield pytest.param(cell, form, False, id=f"{cell}-{form}-full", marks=slow)


@pytest.mark.parametrize(("cell", "form", "lengths"), list(some_slow()))
@pytest.mark.usefixtures("poisoned")
def test_every_form_equals_the_textbook(cell, form, lengths):
    more = FORMS[form](1).samples + 3  # two programs' samples
    for (T, B, H), D in itertools.product([(1, 1, 1), (3, more, 17), (2, 2, 31)], (1, 2)):
        p = problem(cell, T, B, H, D, bias=D == 1, lengths=lengths, dtype=torch.float32)
        check(cell, FORMS[form](H), p, torch.float32)


@pytest.mark.parametrize(("cell", "form"), served("ragged groups"))
@pytest.mark.usefixtures("poisoned")
def test_many_chunks_in_ragged_groups_equal_the_textbook(cell, form):
    """Four chunks a gate in groups of 3; the backward's groups reach from one gate into the next."""
    check(cell, FORMS[form](105), problem(cell, 2, 2, 105, 1, True, True, torch.float32), torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("cell", "form"), served("streamed", "registers"))
@pytest.mark.usefixtures("poisoned")
def test_every_dtype_equals_the_textbook(cell, form, dtype):
    check(cell, FORMS[form](19), problem(cell, 3, 5, 19, 2, True, True, dtype), dtype)


@pytest.mark.parametrize(("cell", "form"), served("streamed"))
@pytest.mark.usefixtures("poisoned")
def test_float32_without_tf32_equals_the_textbook(cell, form, monkeypatch):
    monkeypatch.setattr(sweeps, "rnn_tf32", lambda: False)
    assert not sweeps.tiles_of(FORMS[form](19), 19, torch.float32, tf32=sweeps.rnn_tf32()).tensor
    check(cell, FORMS[form](19), problem(cell, 2, 3, 19, 1, True, True, torch.float32), torch.float32)


@pytest.mark.parametrize(("cell", "form"), served("registers", "one program"))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of NaN in the interpreter
def test_what_is_not_finite_stays_in_its_sample(cell, form):
    p = problem(cell, 4, 5, 20, 2, True, False, torch.float32)
    f = {k: None if v is None else v.float() for k, v in p.items()}
    row = FORMS[form](20)
    clean = sweeps.forward(cell, f["gx"], f["h0"], f["c0"], f["w_hh"], f["b_hh"], None, row, save=False)
    f["gx"][1, 2] = float("nan")
    f["gx"][1, 4] = float("inf")
    dirty = sweeps.forward(cell, f["gx"], f["h0"], f["c0"], f["w_hh"], f["b_hh"], None, row, save=False)
    assert dirty.output[:, 2].isnan().any()
    for sample in (0, 1, 3):
        assert torch.equal(clean.output[:, sample], dirty.output[:, sample])


@pytest.mark.parametrize(("cell", "form"), served("registers", "streamed"))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_padding_leaks_nowhere(cell, form):
    p = problem(cell, 4, 3, 9, 2, True, False, torch.float32)
    p["lengths"] = torch.tensor([4, 2, 1], dtype=torch.int32)
    padding = torch.arange(4).unsqueeze(-1) >= p["lengths"]
    p["gx"][padding] = float("nan")
    check(cell, FORMS[form](9), p, torch.float32)


@pytest.mark.parametrize(("cell", "form"), served("alone", "registers"))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_infinite_state_reaches_what_it_reaches_in_the_textbook(cell, form):
    """Padded units have weights of 0, and 0 times infinity is NaN: none of it may be handed on."""
    p = problem(cell, 2, 3, 20, 2, True, False, torch.float32)
    p["h0"][:, 1, 3] = float("inf")
    p["w_hh"] = p["w_hh"].abs()  # a reset gate that is open: infinity, not 0 times infinity
    expected = textbook(cell, p)[0]
    f = {k: None if v is None else v.float() for k, v in p.items()}
    done = sweeps.forward(cell, f["gx"], f["h0"], f["c0"], f["w_hh"], f["b_hh"], None, FORMS[form](20), save=False)
    assert expected[0, 1, 0].isfinite().sum() + expected[0, 1, 0].isinf().sum() >= 19
    torch.testing.assert_close(done.output.double(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)
