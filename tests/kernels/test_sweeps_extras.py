"""Resets, zoneout, recurrent dropout and heads in the sweeps, in each form, against the reference in float64."""

import pytest
import torch

pytest.importorskip("triton")

from sweep_cases import FORMS, check, problem

from fusedrnn.kernels import sweeps
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.reference.noise import Noise

SEED = torch.tensor([1 << 40])
CELLS = tuple(NUMBERS)


def noise_of(cell, kind):
    """Zoneout of h, and of c where there is one, and recurrent dropout where there is a candidate."""
    zoneout = (0.4, 0.3 if NUMBERS[cell].has_c else 0.0)
    p = 0.5 if NUMBERS[cell].gates > 1 else 0.0
    return {
        "random": Noise(SEED, zoneout, p),
        "sequence": Noise(SEED, (0.0, zoneout[1]), p, shared=True),
        "expected": Noise(None, zoneout, p),
    }[kind]


def with_options(cell, T, B, H, ways, heads, kind, dtype=torch.float32, lengths=True):
    p = problem(cell, T, B, H, ways * heads, True, lengths, dtype)
    p["options"] = {"resets": torch.rand(T, B) < 0.4, "noise": noise_of(cell, kind), "heads": heads}
    return p


def cases():
    """Every cell and form; in the short run "alone", and "registers" where there are c or two phases."""
    for cell in CELLS:
        for form in FORMS:
            few = ("alone", "registers") if cell in ("gru_before", "lstm") else ("alone",)
            yield pytest.param(cell, form, marks=[] if form in few else pytest.mark.slow)


@pytest.mark.parametrize(("cell", "form"), list(cases()))
@pytest.mark.usefixtures("poisoned")
def test_every_form_equals_the_reference(cell, form):
    more = FORMS[form](1).samples + 3  # two programs' samples
    for (T, B, H), ways, heads, kind in [
        ((3, more, 17), 2, 1, "random"),
        ((4, 2, 20), 1, 3, "sequence"),
        ((2, 3, 5), 2, 2, "expected"),
    ]:
        check(cell, FORMS[form](H), with_options(cell, T, B, H, ways, heads, kind), torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_dtype_equals_the_reference(cell, dtype):
    check(cell, FORMS["registers"](19), with_options(cell, 3, 5, 19, 2, 1, "random", dtype), dtype)


@pytest.mark.parametrize("cell", ["gru_before", "lstm"])
def test_programs_that_run_together_equal_the_reference(cell, together):
    """Programs of one launch wait for each other: a state that starts anew is polled where it is, and the rest is exchanged."""
    concurrent = together()
    check(cell, FORMS["registers"](20), with_options(cell, 4, 3, 20, 1, 2, "random"), torch.float32)
    assert concurrent.grids == [4, 4]  # two heads of two programs, all steps at once


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of NaN in the interpreter
def test_what_is_not_finite_ends_at_a_reset(cell):
    p = with_options(cell, 5, 2, 20, 1, 1, "expected", lengths=False)
    p["options"]["resets"] = torch.tensor([[0, 0], [0, 0], [1, 0], [0, 0], [0, 1]], dtype=torch.bool)
    f = {k: v.float() if isinstance(v, torch.Tensor) else v for k, v in p.items()}

    def run():
        args = [f[k] for k in ("gx", "h0", "c0", "w_hh", "b_hh", "lengths")]
        return sweeps.forward(cell, *args, FORMS["registers"](20), save=False, **p["options"]).output

    clean = run()
    f["gx"][1, 0] = float("nan")
    dirty = run()
    assert dirty[1, 0].isnan().any()
    assert torch.equal(dirty[2:, 0], clean[2:, 0])
    assert torch.equal(dirty[:, 1], clean[:, 1])
