"""Swapping nn.GRU for FusedGRU changes no loss."""

import pytest
import torch
from example_runs import run_example
from torch import nn

from examples.dropin import main
from examples.experiments.dropin import MARKERS, WAYS, Classifier, compare, draw
from fusedrnn import FusedGRU

THEIRS, PACKED, LENGTHS = WAYS


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("dropin"))
    assert set(metrics["figures"]) >= {"losses.png"}
    return metrics


@pytest.mark.parametrize("way", [PACKED, LENGTHS])
def test_the_loss_curve_is_that_of_torch_nn(metrics, way):
    curves = metrics["results"]["curves"]
    assert len(curves[THEIRS]["loss"]) == 120
    assert curves[way]["loss"] == pytest.approx(
        curves[THEIRS]["loss"], rel=1e-3, abs=1e-4
    )  # rounding, amplified by Adam
    assert metrics["results"]["apart"][way] < 1e-3


def test_all_learn_the_task_and_read_no_padding(metrics):
    for curve in metrics["results"]["curves"].values():
        assert curve["loss"][0] > 1.2  # log 4 is knowing nothing
        assert curve["accuracy"] > 0.9


def test_times_are_compared_update_by_update(metrics):
    results = metrics["results"]
    theirs, ours = (torch.tensor(results["curves"][way]["seconds"]) for way in (THEIRS, LENGTHS))
    assert results["ratio"][THEIRS] == 1
    assert results["ratio"][LENGTHS] == pytest.approx((theirs / ours).quantile(0.5).item(), rel=1e-4)
    assert (ours > 0).all()


def test_the_conclusion_tells_the_measured_numbers(metrics):
    results = metrics["results"]
    assert f"within {results['apart'][PACKED]:.1e} of nn.GRU's" in metrics["conclusion"]
    assert f"{results['ratio'][PACKED]:.2f} packed" in metrics["conclusion"]


def test_the_class_is_the_last_marker_before_the_padding():
    tokens, lengths, classes = draw(50, 20, torch.Generator().manual_seed(0))
    assert tokens.shape == (50, lengths.max())
    for row, length, label in zip(tokens.tolist(), lengths.tolist(), classes.tolist(), strict=True):
        assert [token for token in row[:length] if token < MARKERS][-1] == label
        assert not any(row[length:])
    assert len(set(classes.tolist())) == MARKERS


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "lengths"])
def test_what_follows_the_end_of_a_sequence_has_no_effect(packed):
    model = Classifier(FusedGRU, 8, packed=packed)
    tokens, lengths, _ = draw(9, 15, torch.Generator().manual_seed(1))
    beyond = torch.arange(tokens.shape[1]) >= lengths.unsqueeze(1)
    torch.testing.assert_close(model(tokens, lengths), model(tokens.masked_fill(beyond, 7), lengths), rtol=0, atol=0)


def test_the_swap_keeps_every_parameter():
    states = []
    for rnn in (nn.GRU, FusedGRU):
        torch.manual_seed(0)
        states.append(Classifier(rnn, 8, packed=True).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_each_way_is_what_its_name_says(monkeypatch):
    made = []

    class Spy(Classifier):
        def __init__(self, rnn, hidden, *, packed):
            super().__init__(rnn, hidden, packed=packed)
            made.append((type(self.rnn), packed))

    monkeypatch.setattr("examples.experiments.dropin.Classifier", Spy)
    compare("reference", updates=1, longest=6, seed=0, hidden=5, batch=3, exam=2)
    assert dict(zip(WAYS, made, strict=True)) == {
        THEIRS: (nn.GRU, True), PACKED: (FusedGRU, True), LENGTHS: (FusedGRU, False)
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["reference", "aten", "triton"])
def test_every_backend_gives_the_same_curve_from_the_same_seed(backend):
    curves = compare(backend, updates=3, longest=6, seed=0, hidden=5, batch=3, exam=2)
    for way in (PACKED, LENGTHS):
        assert curves[way].loss == pytest.approx(curves[THEIRS].loss, rel=1e-5)
