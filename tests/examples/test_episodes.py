"""Episodes in a stream: with resets= they are learnt as samples of their own are, without they cannot be told apart."""

from itertools import pairwise

import pytest
import torch
from example_runs import run_example
from torch.nn.functional import one_hot

from examples.episodes import main
from examples.streams.episodes import LONGEST, NO_LABEL, SHORTEST, SYMBOLS, best_guess, chances, draw, padded
from examples.streams.recall import MARKED, PADDED, PLAIN, RESETS, WAYS, Recaller, answer, compare, grade


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("episodes"))
    assert set(metrics["figures"]) >= {"recall.png"}
    return metrics


@pytest.fixture(scope="module")
def ways(metrics) -> dict:
    return metrics["results"]["ways"]


def test_the_losses_with_resets_are_those_of_padded_episodes(metrics, ways):
    assert len(ways[PADDED]["loss"]) == 150
    assert ways[RESETS]["loss"] == pytest.approx(
        ways[PADDED]["loss"], rel=1e-3, abs=1e-4
    )  # rounding, amplified by Adam
    assert metrics["results"]["apart"] < 1e-3
    assert ways[RESETS]["accuracy"] == pytest.approx(ways[PADDED]["accuracy"], abs=1e-3)


def test_with_resets_every_step_is_right(ways):
    assert ways[RESETS]["loss"][0] > 2  # log 8 is knowing nothing
    assert ways[RESETS]["accuracy"] > 0.99  # seeds 0 to 5: 1.000
    assert min(ways[RESETS]["accuracy_by_age"]) > 0.9


def test_without_starts_the_net_comes_near_the_best_possible_and_no_further(metrics, ways):
    bound, plain = metrics["results"]["without starts"], ways[PLAIN]
    assert 0.32 < bound["ceiling"] < 0.38
    # 32,000 labels, those of an episode correlated: a standard error of about 0.005
    assert 0.25 < plain["accuracy"] < bound["ceiling"] + 0.02
    assert 0.98 * bound["floor"] < plain["exam_loss"] < 1.2 * bound["floor"]
    assert plain["learnt"] is None


def test_a_net_that_sees_the_starts_learns_to_forget_but_later(ways):
    assert ways[MARKED]["accuracy"] > 0.9
    assert ways[RESETS]["learnt"] < 0.85 * ways[MARKED]["learnt"]  # seeds 0 to 5: 0.63 to 0.74


def test_resets_save_more_than_half_of_the_steps(ways):
    assert ways[RESETS]["steps"] == 64 * 16
    assert ways[PADDED]["steps"] > 2.5 * ways[RESETS]["steps"]


def test_the_conclusion_tells_the_measured_numbers(metrics, ways):
    assert f"With resets= the accuracy on new streams is {ways[RESETS]['accuracy']:.3f}" in metrics["conclusion"]
    assert f"the losses stay within {metrics['results']['apart']:.1e}" in metrics["conclusion"]
    assert f"Without starts the accuracy is {ways[PLAIN]['accuracy']:.3f}" in metrics["conclusion"]


def test_a_label_is_the_first_symbol_of_its_episode():
    streams = draw(70, 300, rng())
    seen = set()
    for x, starts, labels, ages in zip(*(part.t().tolist() for part in (*streams, streams.ages())), strict=True):
        assert starts[0]
        places = [t for t, start in enumerate(starts) if start]
        seen |= {b - a for a, b in pairwise(places)}
        for t, (label, age) in enumerate(zip(labels, ages, strict=True)):
            first = max(place for place in places if place <= t)
            assert (label, age) == (x[first], t - first)
    assert seen == set(range(SHORTEST, LONGEST + 1))


def test_padded_episodes_are_those_of_the_streams_in_order():
    streams = draw(31, 7, rng())
    x, lengths, labels = padded(streams)
    assert x.shape == labels.shape == (lengths.max(), streams.starts.sum())
    real = torch.arange(len(x)).unsqueeze(1) < lengths
    assert torch.equal(real, labels != NO_LABEL)
    for ours, theirs in ((x, streams.x), (labels, streams.labels)):
        assert torch.equal(ours.t()[real.t()], theirs.t().flatten())
    assert torch.equal(labels[0], x[0])


def test_the_best_guess_has_the_frequencies_of_the_labels():
    streams = draw(40, 6000, rng())
    guess = best_guess(streams.x)
    torch.testing.assert_close(guess.sum(-1), torch.ones(40, 6000, dtype=torch.float64))
    right = one_hot(streams.labels, SYMBOLS).double()
    for low in (0.0, 0.1, 0.2, 0.3, 0.45, 0.6):  # calibrated: of what it says at 0.3, 0.3 are right
        among = (guess >= low) & (guess < low + 0.1)
        assert right[among].mean().item() == pytest.approx(guess[among].mean().item(), abs=0.01)
    accuracy, loss, by_age = grade(guess.log(), streams.labels, streams)
    assert accuracy == pytest.approx(guess.amax(-1).mean().item(), abs=0.01)
    assert loss == pytest.approx(torch.special.entr(guess).sum(-1).mean().item(), abs=0.02)
    assert len(by_age) == LONGEST
    assert chances().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("way", WAYS)
def test_only_without_resets_do_earlier_episodes_change_the_scores(way):
    torch.manual_seed(0)
    model = Recaller("gru", 9, backend="reference")
    streams = draw(50, 5, rng())
    last = streams.starts.flip(0).int().argmax(0)  # steps from the last start to the end, one less
    earlier = torch.arange(50).unsqueeze(1) < 49 - last
    other = streams._replace(x=torch.where(earlier, (streams.x + 1) % SYMBOLS, streams.x))
    scores, changed = (answer(model, way, given)[0] for given in (streams, other))
    if way == PADDED:
        ends = streams.starts.sum(0).cumsum(0) - 1
        same = torch.equal(scores[:, ends], changed[:, ends])
    else:
        same = torch.equal(scores[~earlier], changed[~earlier])
    assert same == (way in (RESETS, PADDED))


@pytest.mark.parametrize("backend", ["aten", "triton"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_backend_gives_the_same_curve_from_the_same_seed(cell, backend):
    def curves(backend: str) -> dict[str, list[float]]:
        found, _ = compare(cell, backend, updates=2, steps=4, seed=0, hidden=5, batch=2, exam=2)
        return {way: [*result.loss, result.exam_loss] for way, result in found.items()}

    expected, found = curves("reference"), curves(backend)
    assert expected[RESETS] == pytest.approx(expected[PADDED], rel=1e-5)
    assert expected[RESETS] != pytest.approx(expected[PLAIN], rel=1e-5)
    for way in WAYS:
        assert found[way] == pytest.approx(expected[way], rel=1e-5)
