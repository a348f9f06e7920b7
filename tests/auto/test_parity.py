"""The error budget: relative to torch's own, with one rounding, and no element far off."""

import pytest
import torch

from fusedrnn.auto import parity

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def noisy(exact, size, dtype, seed=0):
    """`exact` with a relative error of about `size`, in `dtype`."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(exact.shape, generator=random, dtype=torch.float64)
    return (exact + size * exact.norm() / noise.norm() * noise).to(dtype)


def judge(got, other, exact, tf32=False):
    return parity.judge([("output", got)], [("output", other)], [("output", exact)], tf32=tf32)


@pytest.fixture
def exact():
    return torch.randn(16, 8, 32, dtype=torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_errors_like_torchs_are_right_and_larger_ones_are_not(exact, dtype):
    size = 8 * parity.UNIT[dtype]
    theirs = noisy(exact, size, dtype, seed=1)
    assert judge(noisy(exact, size, dtype), theirs, exact).verdict == "right"
    worse = judge(noisy(exact, 2.5 * size, dtype), theirs, exact)
    assert worse.verdict == "inexact"
    assert 1 < worse.share < 3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_error_beyond_the_coarse_limit_is_wrong(exact, dtype):
    limit = parity.coarse(dtype, tf32=False)
    assert judge(noisy(exact, 2 * limit, dtype), exact.to(dtype), exact).verdict == "wrong"
    assert judge(noisy(exact, limit / 2, dtype), exact.to(dtype), exact).verdict == "inexact"


def test_one_element_that_is_far_off_is_wrong_and_one_that_is_off_is_inexact():
    """In a tensor whose norm it hardly changes."""
    exact = torch.randn(64, 32, 64, dtype=torch.float64)
    for off, verdict in ((3.0, "wrong"), (0.5, "inexact"), (1e-4, "right")):
        got = exact.to(torch.bfloat16)
        got[3, 2, 1] += off
        assert judge(got, exact.to(torch.bfloat16), exact).verdict == verdict, off


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_wrong(exact, bad):
    got = exact.float()
    got[0, 0, 0] = bad
    judged = judge(got, exact.float(), exact)
    assert (judged.verdict, judged.share) == ("wrong", float("inf"))


def test_products_in_tf32_have_its_rounding(exact):
    got = noisy(exact, 2.0**-12, torch.float32)
    assert judge(got, exact.float(), exact, tf32=True).verdict == "right"
    assert judge(got, exact.float(), exact, tf32=False).verdict == "wrong"


def test_another_shape_is_wrong(exact):
    assert judge(exact[:3].float(), exact.float(), exact).text == "output: expected shape (16, 8, 32), got (3, 8, 32)"


def test_the_worst_result_is_reported(exact):
    fine, off = exact.float(), noisy(exact, 1e-3, torch.float32)
    named = [("a", fine), ("b", off), ("c", fine)]
    judged = parity.judge(named, [(name, fine) for name, _ in named], [(name, exact) for name, _ in named], tf32=True)
    assert judged.text.startswith("b: relative error 0.001, allowed 0.000488")
    assert judged.verdict == "inexact"


def test_an_empty_result_and_one_of_zeros_are_right():
    for value in (torch.zeros(0, 3), torch.zeros(2, 3)):
        assert judge(value, value, value.double()).verdict == "right"


def test_what_is_far_off_is_not_wrong_where_torchs_own_is_nearly_as_far(exact):
    for times, verdict in ((1.2, "right"), (3.0, "inexact"), (5.0, "wrong")):
        assert (
            judge(noisy(exact, 0.1 * times, torch.bfloat16), noisy(exact, 0.1, torch.bfloat16), exact).verdict
            == verdict
        )


def test_nothing_is_held_to_results_that_are_wrong_themselves(exact):
    named = [("a", exact.float()), ("b", noisy(exact, 1e-1, torch.float32)), ("c", torch.zeros(0))]
    truth = [("a", exact), ("b", exact), ("c", torch.zeros(0).double())]
    assert parity.sound(named[:1] + named[2:], truth[:1] + truth[2:], tf32=True) is None
    assert parity.sound(named, truth, tf32=True) == "b: expected a relative error up to 0.02, got 0.1"


def test_results_of_few_numbers_have_a_wider_budget_and_are_not_called_wrong():
    """Their errors vary, and as a whole they may be near zero."""
    exact = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    theirs, twice, far = (exact * (1 + error) for error in (1e-2, 2.9e-2, 0.5))
    assert judge(twice.bfloat16(), theirs.bfloat16(), exact).verdict == "right"
    assert judge(far.bfloat16(), theirs.bfloat16(), exact).verdict == "inexact"
    many = [value.repeat(100) for value in (exact, theirs, twice, far)]
    assert judge(many[2].bfloat16(), many[1].bfloat16(), many[0]).verdict == "inexact"
    assert judge(many[3].bfloat16(), many[1].bfloat16(), many[0]).verdict == "wrong"
    assert judge((exact * float("nan")).bfloat16(), theirs.bfloat16(), exact).verdict == "wrong"
