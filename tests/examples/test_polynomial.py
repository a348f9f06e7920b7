"""The polynomial experiment's claims, on --quick."""

import math

import pytest
import torch
from example_runs import run_example

from examples.polynomial import main
from examples.polynomial_fit.data import Samples, draw
from examples.polynomial_fit.fitting import fit_by_descent, squared_errors
from examples.polynomial_fit.selection import by_folds, by_validation_set


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run_example(main, tmp_path_factory.mktemp("polynomial"))["results"]


def test_the_right_features_and_enough_samples_recover_the_cubic(results):
    normal = results["cases"]["normal"]
    assert 0.8e-4 < normal["train"] < 1.5e-4  # the noise's variance is 1e-4
    assert 0.8e-4 < normal["test"] < 1.5e-4
    assert [float(weight) for weight in normal["weights"].split()] == pytest.approx([1.2, -3.4, 5.6], abs=0.01)
    assert float(normal["bias"]) == pytest.approx(5, abs=0.01)


def test_two_samples_are_fitted_and_the_others_missed(results):
    overfit = results["cases"]["overfit"]
    assert overfit["median train"] < 5
    assert overfit["median test"] > 5 * overfit["median train"]
    assert overfit["highest test"] > 100


def test_a_straight_line_misses_both(results):
    underfit = results["cases"]["underfit"]
    assert min(underfit["median train"], underfit["median test"]) > 50
    assert underfit["median test"] == pytest.approx(underfit["median train"], rel=0.9)
    assert 10 < float(underfit["weights"]) < 30


@pytest.mark.parametrize("way", ["validation set", "10-fold"])
def test_held_out_samples_pick_degree_3(results, way):
    chosen = results["chosen"][way]
    assert min(map(int, [*chosen["lowest"], *chosen["simplest"]])) == 3  # neither rule ever underfits
    assert chosen["simplest"]["3"] >= 0.8 * sum(chosen["simplest"].values())
    assert chosen["lowest"]["3"] >= 0.4 * sum(chosen["lowest"].values())


def test_errors_on_fitted_samples_fall_with_the_degree_and_held_out_ones_rise_from_3_on():
    generator = torch.Generator().manual_seed(2)
    samples = draw(100, generator)
    for choice in (by_validation_set(samples[:15], samples[15:]), by_folds(samples[:20], 4, generator)):
        assert choice.train == sorted(choice.train, reverse=True)
        assert choice.held_out[8] > 10 * choice.held_out[2]


def test_each_sample_judges_once_and_never_a_fit_that_saw_it(monkeypatch):
    fits = []

    def spy(train, test, degree):
        fits.append((degree, set(train.x.tolist()), test.x.tolist()))
        return squared_errors(train, test, degree)

    monkeypatch.setattr("examples.polynomial_fit.selection.squared_errors", spy)
    samples = draw(23, torch.Generator().manual_seed(0))
    by_folds(samples, 5, torch.Generator().manual_seed(1))
    folds = [(train, test) for degree, train, test in fits if degree == 4][:5]
    assert sorted(x for _, test in folds for x in test) == sorted(samples.x.tolist())
    for train, test in folds:
        assert not train & set(test)
        assert train | set(test) == set(samples.x.tolist())


def test_descent_that_diverges_counts_as_an_endless_error():
    far_out = Samples(torch.tensor([9.0, -9.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64))
    fit = fit_by_descent(far_out, far_out, 3, range(30), seed=0)
    assert fit.train[-1] == fit.test[-1] == math.inf


def test_a_seed_that_diverges_is_counted_and_another_one_shown(tmp_path):
    metrics = run_example(main, tmp_path, "--seed", 8)
    normal = metrics["results"]["cases"]["normal"]
    assert (normal["diverged"], normal["seeds"]) == (1, 3)
    assert normal["train"] < 1e-3
    assert "inf " not in metrics["conclusion"]
    assert "diverged from 1 of 3 seeds" in metrics["conclusion"]


def test_a_seed_repeats_and_another_differs():
    train = draw(20, torch.Generator().manual_seed(0))
    one, same, other = (fit_by_descent(train, train, 3, range(3), seed) for seed in (5, 5, 6))
    assert one == same != other
