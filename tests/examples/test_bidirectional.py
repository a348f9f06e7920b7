"""Two directions: better than any model of the past alone in labelling, a leak of the answer in language modelling."""

import math

import pytest
import torch
from example_runs import run_example

from examples.bidirectional import main
from examples.direction.chain import Chain, noise
from examples.direction.labeller import Labeller, train
from examples.direction.text import lyrics
from examples.experiments.bidirectional import TASKS
from examples.lm.corpus import load_corpus

LABELS, NOISE, LYRICS = TASKS


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("bidirectional"))
    assert set(metrics["figures"]) >= {"perplexity.png"}
    return metrics


@pytest.fixture(scope="module")
def results(metrics) -> dict:
    return metrics["results"]


def test_one_direction_reaches_the_ceiling_of_the_past_and_does_not_pass_it(results):
    task = results[LABELS]
    assert task["ceiling"] == pytest.approx(0.49 + 0.09 / 7)  # twice stayed, or left and come back
    # 20,000 labels, neighbours correlated: a standard error of about 0.006
    assert task["ceiling"] - 0.03 < task["one direction"]["accuracy"] < task["ceiling"] + 0.02
    assert task["floor"] * 0.98 < task["one direction"]["perplexity"] < task["floor"] * 1.1


def test_two_directions_know_the_answer(results):
    assert results[LABELS]["two directions"]["accuracy"] > 0.97


def test_a_bidirectional_language_model_has_an_impossible_perplexity(results):
    task = results[NOISE]
    assert task["floor"] == pytest.approx(16)
    assert 15.9 < task["one direction"]["perplexity"] < 16.6
    assert task["two directions"]["perplexity"] < 1.1
    assert task["two directions"]["accuracy"] > 0.99


def test_the_leak_is_the_next_character(results):
    task = results[NOISE]
    assert task["one direction"]["reads_ahead"] == 0
    assert task["two directions"]["reads_ahead"] > 1
    assert task["two directions"]["last_accuracy"] < 0.12  # chance is 0.0625, of 1000
    assert task["two directions"]["last_perplexity"] > 16


def test_of_lyrics_two_directions_read_what_no_writer_could_know(results):
    one, two = results[LYRICS]["one direction"], results[LYRICS]["two directions"]
    assert results[LYRICS]["floor"] is None
    assert math.exp(two["loss"][-1]) < 5 < 50 < math.exp(one["loss"][-1])  # on the songs that are learnt
    assert two["perplexity"] < 30 < 200 < one["perplexity"]  # on others
    assert two["last_perplexity"] > 200
    assert one["reads_ahead"] == 0
    assert two["reads_ahead"] > 1


def test_the_unseen_songs_are_none_of_those_that_are_trained_on():
    learnt, unseen = lyrics()
    assert learnt.symbols == unseen.symbols == int(torch.cat([learnt.ids, unseen.ids]).max()) + 1
    assert torch.equal(torch.cat([learnt.ids, unseen.ids]), load_corpus("default", 10**6).ids)
    x, labels = learnt.draw(7, 50, torch.Generator().manual_seed(0))
    assert x.shape == (8, 50)
    assert torch.equal(x[1:], labels)
    windows = {tuple(window) for window in learnt.ids.unfold(0, 8, 1).tolist()}
    assert {tuple(window) for window in x.T.tolist()} <= windows


def test_the_conclusion_tells_the_measured_numbers(metrics):
    cheat = metrics["results"][NOISE]["two directions"]
    assert f"two have {cheat['perplexity']:.3f}, which is leakage" in metrics["conclusion"]
    assert (
        f"one direction reached {metrics['results'][LABELS]['one direction']['accuracy']:.3f}" in metrics["conclusion"]
    )


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_the_ceiling_and_the_floor_are_those_of_the_drawn_chain(ahead):
    chain = Chain(symbols=5, stay=0.6, ahead=ahead)
    x, labels = chain.draw(40, 2000, torch.Generator().manual_seed(0))
    assert x.shape == (40 + ahead, 2000)
    assert labels.shape == (40, 2000)
    assert (x[:-ahead] == labels).double().mean().item() == pytest.approx(chain.ceiling(), abs=0.01)
    joint = torch.zeros(5, 5).index_put_((x[:-ahead].flatten(), labels.flatten()), torch.ones(()), accumulate=True)
    entropy = torch.special.entr(joint / joint.sum(1, keepdim=True)).sum(1).mean().item()
    assert math.exp(entropy) == pytest.approx(chain.floor(), rel=0.01)


def test_noise_has_no_memory():
    x, labels = noise(4).draw(30, 2000, torch.Generator().manual_seed(0))
    assert noise(4).ceiling() == pytest.approx(0.25)
    assert (x[:-1] == labels).double().mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_backend_gives_the_same_curve_from_the_same_seed(cell, bidirectional):
    def curve(backend: str) -> list[float]:
        torch.manual_seed(0)
        model = Labeller(cell, 4, 5, bidirectional=bidirectional, backend=backend)
        generator = torch.Generator().manual_seed(0)
        return train(model, Chain(4), updates=4, steps=3, batch=2, generator=generator, name="")

    expected = curve("reference")
    assert curve("aten") == pytest.approx(expected, rel=1e-5)
    assert curve("triton") == pytest.approx(expected, rel=1e-5)
    assert expected[0] != expected[-1]
