"""The weight decay experiment's claims, on --quick."""

import pytest
from example_runs import run_example

from examples.weight_decay import main


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run_example(main, tmp_path_factory.mktemp("weight_decay"))["results"]


@pytest.fixture(params=["scratch", "optimiser"])
def runs(request, results):
    """The runs of one way: without and with decay."""
    without, decayed = [run for run in results["runs"] if run["way"] == request.param]
    assert (without["lambda"], decayed["lambda"]) == (0, 3)
    return without, decayed


def test_without_a_penalty_the_samples_are_known_by_heart_and_the_rest_is_not(runs):
    without, _ = runs
    assert without["train"] < 1e-8
    assert without["test"] > 50
    assert without["norm"] == pytest.approx(13.4, abs=3 * 0.71)  # chi with 180 degrees of freedom, three sigma


def test_the_penalty_makes_the_weights_small_and_the_test_error_too(runs):
    _, decayed = runs
    assert 0.02 < decayed["norm"] < 0.06
    assert 0.005 < decayed["test"] < 0.02
    assert decayed["train"] < decayed["test"]


def test_both_ways_make_the_same_weights(results):
    # 2000 steps in float32 whose roundings differ; weights of size 1 carry 1e-7 each
    assert results["largest gap between the ways"] < 1e-5
