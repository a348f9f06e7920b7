"""Zoneout and recurrent dropout: a lower loss on songs that are not learnt, and a smaller gap to those that are."""

import pytest
import torch
from example_runs import run_example
from torch.nn.functional import cross_entropy

from examples.experiments.regularised import BOTH, DROPOUT, NEITHER, RATES, ZONEOUT, rates
from examples.lm.corpus import load_corpus
from examples.lm.held_out import evaluate, fit, texts
from examples.lm.model import CharModel
from examples.regularised import main
from fusedrnn import FusedLSTM


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("regularised"))
    assert set(metrics["figures"]) >= {"losses.png"}
    return metrics


@pytest.fixture(scope="module")
def means(metrics) -> dict:
    return metrics["results"]["means"]


def test_without_regularisation_the_songs_are_learnt_by_heart(means):
    plain = means[NEITHER]
    assert plain["best_epoch"] < 13
    assert plain["last"] > plain["best"] + 0.05  # seeds 0 to 4: 0.11 to 0.15
    assert plain["gap"] > 0.6


@pytest.mark.parametrize("way", [ZONEOUT, DROPOUT])
def test_regularisation_lowers_the_loss_on_other_songs(means, way):
    # seeds 0 to 4: the validation loss by 0.04 to 0.12, the test loss by 0.04 to 0.11
    assert means[way]["best"] < means[NEITHER]["best"] - 0.03
    assert means[way]["test"] < means[NEITHER]["test"] - 0.03


@pytest.mark.parametrize("way", [ZONEOUT, DROPOUT])
def test_regularisation_narrows_the_gap(means, way):
    assert means[way]["gap"] < 0.6 * means[NEITHER]["gap"]  # seeds 0 to 4: 0.28 to 0.38
    assert means[way]["learnt"] > means[NEITHER]["learnt"] + 0.15


def test_the_summary_is_that_of_the_curves(metrics):
    for way, (curve,) in metrics["results"]["curves"].items():
        (found,) = metrics["results"]["runs"][way]
        best = found["best_epoch"] - 1
        assert found["best"] == min(curve["validation"]) == curve["validation"][best]
        assert found["test"] == curve["test"][best]
        assert found["gap"] == pytest.approx(curve["validation"][-1] - curve["learnt"][-1])
        assert len(curve["learnt"]) == len(curve["seconds"]) == 16


def test_the_conclusion_tells_the_measured_numbers(metrics, means):
    assert f"the lowest validation loss is {means[NEITHER]['best']:.3f} per byte" in metrics["conclusion"]
    for way in (ZONEOUT, DROPOUT):
        assert f"{way} {means[way]['best']:.3f} (test {means[way]['test']:.3f})" in metrics["conclusion"]


def test_no_song_is_in_two_texts():
    ids = texts(24)
    whole = load_corpus("default", 10**6).text.strip()
    symbols = sorted(set(whole.encode()))
    assert ids.symbols == len(symbols)
    read = [bytes(symbols[number] for number in text.tolist()).decode() for text in ids[:3]]
    assert "  ".join(read) == whole
    assert [text.count("  ") + 1 for text in read] == [24, 12, 12]
    few = texts(3)
    assert torch.equal(few.learnt, ids.learnt[: len(few.learnt)])
    assert torch.equal(few.validation, ids.validation)


def test_the_losses_are_those_of_a_model_in_evaluation():
    torch.manual_seed(0)
    model = CharModel(FusedLSTM(9, 8, zoneout=(0.3, 0.4), recurrent_dropout=0.5), 8, 9, "xavier")
    with torch.no_grad():
        model.head.weight.mul_(100)
    ids = torch.randint(9, (107,))
    rows = ids[:105].view(5, 21)
    loss = evaluate(model, ids, rows=5)
    assert model.training
    assert evaluate(model, ids, rows=5) == loss
    expected = [cross_entropy(model.eval()(row[:-1, None])[0].squeeze(1), row[1:]) for row in rows]
    assert loss == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_a_gru_takes_the_rate_of_h():
    assert rates(ZONEOUT, "gru") == {"zoneout": RATES[ZONEOUT]["zoneout"][0]}
    assert rates(BOTH, "lstm") == RATES[BOTH]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("way", RATES)
def test_every_backend_gives_the_same_curve_from_the_same_seed(way, cell):
    ids = texts(1)
    ids = ids._replace(learnt=ids.learnt[:64], validation=ids.validation[:64], test=ids.test[:64])

    def curve(backend: str) -> list[float]:
        options = rates(way, cell)
        found = fit(cell, ids, epochs=1, hidden=5, seed=0, name="", steps=4, batch_size=4, backend=backend, **options)
        return [*found.learnt, *found.validation, *found.test]

    expected = curve("reference")
    assert curve("aten") == pytest.approx(expected, rel=1e-5)
    assert curve("triton") == pytest.approx(expected, rel=1e-5)


def test_runs_have_seeds_of_their_own(tmp_path, monkeypatch):
    seen = []

    def spy(cell, ids, *, seed, **options):
        seen.append(seed)
        return fit(cell, ids, seed=seed, **{**options, "epochs": 1, "hidden": 3})

    monkeypatch.setattr("examples.experiments.regularised.fit", spy)
    main(["--quick", "--songs", "1", "--runs", "2", "--seed", "5", "--out", str(tmp_path)])
    assert seen == [5] * 3 + [6] * 3


def test_too_many_songs_are_a_one_line_error(tmp_path, capsys):
    assert main(["--songs", "25", "--out", str(tmp_path)]) == 2
    assert "regularised.py: error: expected --songs of 24 or less, got 25" in capsys.readouterr().err
