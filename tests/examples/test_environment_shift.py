"""The environment shift experiment's claims on --quick, and its estimators on cases that are known."""

from dataclasses import replace

import numpy as np
import pytest
from example_runs import run_example

from examples.environment_shift import main
from examples.shift.correction import input_weights, label_weights
from examples.shift.detection import by_errors, by_inputs, by_predictions
from examples.shift.study import study
from examples.shift.worlds import WORLDS, Samples


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run_example(main, tmp_path_factory.mktemp("shift"))["results"]["worlds"]


@pytest.mark.parametrize(("world", "by"), [("covariate shift", "inputs"), ("label shift", "labels")])
def test_the_right_correction_closes_the_gap(results, world, by):
    numbers = results[world]
    assert numbers["gap"] > 0.1
    assert 0.8 * numbers["gap"] < numbers[f"won by {by}"] < 1.1 * numbers["gap"]


@pytest.mark.parametrize(("world", "by"), [("covariate shift", "labels"), ("label shift", "inputs")])
def test_the_wrong_correction_does_not(results, world, by):
    assert results[world][f"won by {by}"] < 0.1 * results[world]["gap"]


@pytest.mark.parametrize("by", ["inputs", "labels"])
def test_no_correction_helps_under_concept_shift(results, by):
    numbers = results["concept shift"]
    assert numbers["gap"] > 0.1
    assert abs(numbers[f"won by {by}"]) < 0.05 * numbers["gap"]


@pytest.mark.parametrize("by", ["inputs", "labels"])
def test_no_correction_harms_where_nothing_shifts(results, by):
    numbers = results["no shift"]
    assert abs(numbers["gap"]) < 0.01
    assert abs(numbers[f"won by {by}"]) < 0.01


@pytest.mark.parametrize("name", ["covariate shift", "label shift"])
def test_no_correction_reads_the_targets_labels(name):
    world, sets = WORLDS[name], []

    def with_first_set_mislabelled(draw, n):
        sets.append(world.target(draw, n))
        if len(sets) > 1:  # the sets that judge and that train the model to compare with
            return sets[-1]
        return Samples(sets[0].x, (sets[0].y + 1) % (1 + sets[0].y.max()))

    honest, blind = study(world, 0), study(replace(world, target=with_first_set_mislabelled), 0)
    assert len(sets) == 3
    assert (blind.plain, blind.by_inputs, blind.by_labels) == (honest.plain, honest.by_inputs, honest.by_labels)
    assert (blind.label_weights == honest.label_weights).all()
    assert (blind.p_inputs, blind.p_predictions) == (honest.p_inputs, honest.p_predictions)


def test_the_model_to_compare_with_is_trained_on_a_set_of_its_own():
    world, sets = WORLDS["covariate shift"], []

    def with_third_set_mislabelled(draw, n):
        sets.append(world.target(draw, n))
        return sets[-1] if len(sets) < 3 else Samples(sets[-1].x, 1 - sets[-1].y)

    honest, misled = study(world, 0), study(replace(world, target=with_third_set_mislabelled), 0)
    assert misled.own == pytest.approx(1 - honest.own, abs=0.01)
    assert misled.plain == honest.plain


def test_the_tests_notice_what_they_can_and_nothing_else(results):
    assert results["no shift"]["noticed by inputs"] <= 0.2
    assert results["no shift"]["noticed by predictions"] <= 0.2
    assert results["no shift"]["noticed by errors"] <= 0.2
    for world in ("covariate shift", "label shift"):
        assert results[world]["noticed by inputs"] == results[world]["noticed by predictions"] == 1
    concept = results["concept shift"]
    assert max(concept["noticed by inputs"], concept["noticed by predictions"]) <= 0.2
    assert concept["noticed by errors"] == 1


def test_the_weights_are_the_true_ones(results):
    label = results["label shift"]
    assert label["label weights"] == pytest.approx(label["true label weights"], rel=0.2, abs=0.1)
    for world in ("no shift", "covariate shift", "concept shift"):
        assert results[world]["mean error of the log input weights"] < 0.1, world


def test_label_weights_solve_the_confusion_equation_and_are_never_negative():
    truth = np.repeat([0, 1], [80, 20])
    said = np.concatenate([np.repeat([0, 1], [64, 16]), np.repeat([0, 1], [4, 16])])  # right in 80 %
    on_target = np.repeat([0, 1], [44, 56])  # 0.8 q + 0.2 (1 - q) = 0.44: q = 0.4 of class 0
    assert label_weights(said, truth, on_target, 2) == pytest.approx([0.4 / 0.8, 0.6 / 0.2])
    assert label_weights(said, truth, np.ones(50, dtype=int), 2)[0] == 0


def test_input_weights_of_two_gaussians_are_their_ratio_also_for_unequal_numbers():
    draw = np.random.default_rng(0)
    source, target = draw.normal(size=(20_000, 1)), draw.normal(size=(10_000, 1)) + 1
    ratio = input_weights(source, target)
    assert np.log(ratio) == pytest.approx(source[:, 0] - 0.5, abs=0.15)


def test_a_difference_is_significant_only_where_there_is_one():
    draw = np.random.default_rng(1)
    here, there = draw.normal(size=(500, 2)), draw.normal(size=(500, 2))
    assert by_inputs(here, there) > 0.05 > 1e-6 > by_inputs(here, there + 1)
    few, many = draw.random(500) < 0.1, draw.random(500) < 0.4
    assert by_errors(few, draw.random(300) < 0.1) > 0.05 > 1e-6 > by_errors(few, many)
    assert by_predictions(few.astype(int), few[::-1].astype(int), 3) > 0.99
    assert by_predictions(few.astype(int), many.astype(int), 2) < 1e-6
    assert by_predictions(np.zeros(9, dtype=int), np.zeros(5, dtype=int), 3) == 1
