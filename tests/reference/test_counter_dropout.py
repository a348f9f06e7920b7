"""Counter-based dropout in the reference: what it computes, and that its bits look independent.

Chi-square tests have 3 degrees of freedom and the level 1e-4: four cells of a pair of elements against their expectation.
"""

import pytest
import torch

from fusedrnn.reference import counter_dropout as module
from fusedrnn.reference.counter_dropout import bias_relu_dropout, bias_relu_dropout_gradient, counter_dropout, kept

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
CRITICAL = 21.108
SEED = torch.tensor(20240607)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("p", [0.0, 1e-12, 0.3, 0.5, 1.0])
def test_each_element_is_zero_or_scaled_with_one_rounding(p, dtype):
    x = torch.randn(7, 11).to(dtype)
    mask = kept(SEED, p, 77).view(7, 11)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    scaled = (x.to(wide) * (1 / (1 - p) if p < 1 else 0)).to(dtype)
    got = counter_dropout(x, p, SEED)
    assert got.dtype == dtype
    assert torch.equal(got, torch.where(mask, scaled, 0))


def test_probabilities_of_zero_and_one_are_exact():
    assert kept(SEED, 0.0, 1001).all()
    assert not kept(SEED, 1.0, 1001).any()
    assert module.threshold(1 - 2**-40) == (1 << 32) - 1
    assert module.threshold(0.5) == 1 << 31


def test_the_smallest_kept_word_is_the_threshold(monkeypatch):
    limit = module.threshold(0.3)
    drawn = torch.tensor([limit - 1, limit, limit + 1])
    monkeypatch.setattr(module, "random_words", lambda seed, first, count: drawn)
    assert kept(SEED, 0.3, 3).tolist() == [False, True, True]


def test_what_is_dropped_is_zero_even_if_it_was_not_finite():
    x = torch.tensor([float("nan"), float("inf"), -float("inf")]).repeat(33)
    mask = kept(SEED, 0.5, 99)
    assert torch.equal(counter_dropout(x, 0.5, SEED)[~mask], torch.zeros(int((~mask).sum())))
    assert torch.equal(counter_dropout(x, 0.5, SEED)[mask].isfinite(), torch.zeros(int(mask.sum()), dtype=torch.bool))
    assert (counter_dropout(x, 1.0, SEED) == 0).all()


def test_chunks_do_not_show(monkeypatch):
    whole = kept(SEED, 0.5, 1003, first=5)
    for chunk in (4, 7, 64):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert torch.equal(kept(SEED, 0.5, 1003, first=5), whole)


def test_bits_do_not_depend_on_strides():
    x = torch.rand(5, 7, 3) + 1
    seen = counter_dropout(x.transpose(0, 2), 0.5, SEED)
    assert torch.equal(seen, counter_dropout(x.transpose(0, 2).contiguous(), 0.5, SEED))


def test_shared_dimensions_share_the_mask():
    x = torch.ones(6, 5, 7)
    y = counter_dropout(x, 0.5, SEED, shared_dims=1)
    assert torch.equal(y, counter_dropout(x[0], 0.5, SEED).expand(6, 5, 7))


def test_the_gradient_is_dropout_of_the_gradient():
    x = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(9, 5, dtype=torch.float64)
    (got,) = torch.autograd.grad(counter_dropout(x, 0.3, SEED), x, grad)
    assert torch.equal(got, counter_dropout(grad, 0.3, SEED))


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_bias_relu_dropout_is_the_three_in_a_row(p):
    x = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64)
    grad = torch.randn(9, 5, dtype=torch.float64)
    got = bias_relu_dropout(x, bias, p, SEED)
    assert torch.equal(got, counter_dropout(torch.relu(x + bias), p, SEED))
    assert torch.equal(bias_relu_dropout_gradient(grad, got, p), torch.autograd.grad(got, x, grad)[0])


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.8, 0.99])
def test_the_kept_fraction_is_within_four_sigma(p):
    count = 10_000_019
    fraction = kept(torch.tensor(int(p * 1000)), p, count).double().mean().item()
    assert abs(fraction - (1 - p)) < 4 * (p * (1 - p) / count) ** 0.5


def chi_square(a, b, p):
    """Of the pairs (a[i], b[i]) of kept flags against independence with the known probability."""
    counts = torch.bincount(2 * a.long() + b.long(), minlength=4).double()
    expected = len(a) * torch.tensor([p * p, p * (1 - p), p * (1 - p), (1 - p) ** 2], dtype=torch.float64)
    return ((counts - expected) ** 2 / expected).sum().item()


BITS = {p: kept(SEED, p, 64 * 32 * 257) for p in (0.2, 0.5)}
"""Of an output with 64 steps, 32 samples and 257 units."""


@pytest.mark.parametrize("p", BITS)
@pytest.mark.parametrize(
    "lag", [1, 2, 3, 4, 8, 257, 32 * 257], ids=["next", "2nd", "3rd", "4th", "8th", "row", "time step"]
)
def test_elements_at_a_distance_are_independent(p, lag):
    assert chi_square(BITS[p][:-lag], BITS[p][lag:], p) < CRITICAL


@pytest.mark.parametrize("p", BITS)
@pytest.mark.parametrize(
    "other",
    [SEED + 1, SEED - 1, SEED ^ (1 << 32), -SEED, SEED * 2],
    ids=["+1", "-1", "high half", "negative", "double"],
)
def test_seeds_are_independent(p, other):
    assert chi_square(BITS[p], kept(other, p, len(BITS[p])), p) < CRITICAL
