"""The lyrics program on a tiny text: it learns, a seed decides the run, it reports, it writes on from a prefix."""

import json
import random
from pathlib import Path

import pytest
import torch
from lyrics_runs import SMALL, assert_whole, parameters, train

import fusedrnn
from examples.lm import training
from examples.lm.checkpoint import load_checkpoint
from examples.lm.corpus import load_corpus
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run
from examples.lyrics import main

CELLS = ["rnn", "gru", "gru-before", "lstm"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_the_song_by_heart(song, tmp_path, cell, optimizer):
    metrics = train(song, tmp_path, "--cell", cell, "--optimizer", optimizer, "--epochs", 60)
    assert metrics["perplexity"][0] > 8  # 15 characters, each as likely: it begins by knowing next to nothing
    assert metrics["perplexity"][-1] < 1.3
    sung = Path(song).read_text(encoding="utf-8")
    assert metrics["samples"][-1]["text"][-20:] in sung  # once it has found the place, it sings as written


def test_random_sampling_learns_too(song, tmp_path):
    assert train(song, tmp_path, "--sampling", "random", "--epochs", 60)["perplexity"][-1] < 1.6


def test_two_layers_learn_too(song, tmp_path):
    metrics = train(song, tmp_path, "--layers", 2, "--cell", "rnn", "--epochs", 60)
    assert metrics["perplexity"][-1] < 1.3
    shape = {name: tuple(value.shape) for name, value in parameters(tmp_path).items()}
    assert shape["recurrent.weight_ih_l1"] == (24, 24)


def test_perplexity_begins_at_the_size_of_the_vocabulary(song, tmp_path):
    metrics = train(song, tmp_path, "--epochs", 1, "--lr", 1e-9)
    assert metrics["perplexity"] == pytest.approx([metrics["vocabulary_size"]], rel=0.01)


@pytest.mark.parametrize("cell", CELLS)
def test_reference_and_aten_give_the_same_curve(tmp_path, cell):
    # nothing to memorise: a text learnt by heart ends in a regime where steps of fixed length amplify rounding
    noise = tmp_path / "noise.txt"
    noise.write_text("".join(random.Random(1).choices("风花雪月山水云天春秋分开不", k=1200)), encoding="utf-8")
    by_reference, by_aten = (
        train(noise, tmp_path / backend, "--cell", cell, "--backend", backend, "--epochs", 10)["perplexity"]
        for backend in ("reference", "aten")
    )
    assert len(by_reference) == 10
    assert by_aten == pytest.approx(by_reference, rel=1e-3)


def test_the_three_gated_cells_differ(song, tmp_path):
    curves = {cell: train(song, tmp_path / cell, "--cell", cell, "--epochs", 3)["perplexity"] for cell in CELLS}
    assert len({curve[-1] for curve in curves.values()}) == len(CELLS)


@pytest.mark.parametrize("sampling", ["consecutive", "random"])
def test_a_seed_gives_the_same_run_and_another_seed_another(song, tmp_path, sampling):
    one, same, other = (
        train(song, tmp_path / str(number), "--sampling", sampling, "--seed", seed, "--epochs", 3)["perplexity"]
        for number, seed in enumerate((5, 5, 6))
    )
    assert one == same != other
    samplers = [load_checkpoint(tmp_path / str(number) / "checkpoint.pt").sampler for number in range(3)]
    assert torch.equal(samplers[0], samplers[1])
    assert not torch.equal(samplers[0], samplers[2])


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_weights_start_small_and_the_second_bias_stays_zero(song, tmp_path, cell):
    train(song, tmp_path, "--cell", cell, "--hidden", 64, "--epochs", 1, "--lr", 1e-12)
    start = parameters(tmp_path)
    for name, value in start.items():
        if "weight" in name:
            assert value.std() == pytest.approx(0.01, rel=0.1), name
        else:
            assert value.abs().max() < 1e-9, name
    train(song, tmp_path, "--cell", cell, "--epochs", 5)
    trained = parameters(tmp_path)
    assert not trained["recurrent.bias_hh_l0"].any()
    assert trained["recurrent.bias_ih_l0"].any()


def test_a_step_has_length_lr_times_clip_because_clipping_acts(song, tmp_path):
    one_minibatch = ["--batch-size", 8, "--steps", 48, "--epochs", 1, "--max-chars", 400]
    train(song, tmp_path / "before", *one_minibatch, "--lr", 1e-12)
    train(song, tmp_path / "after", *one_minibatch, "--lr", 50, "--clip", 0.004)
    before, after = parameters(tmp_path / "before"), parameters(tmp_path / "after")
    step = torch.cat([(after[name] - before[name]).flatten() for name in before])
    assert step.norm().item() == pytest.approx(50 * 0.004, rel=1e-3)


class Spy(torch.nn.Module):
    """A model that notes the states it is given and counts the minibatches as its state."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 3)
        self.seen = []

    def forward(self, ids, state):
        self.seen.append(state)
        h = self.head.weight.sum() * 0 + (1.0 if state is None else state[0] + 1)
        return self.head(ids.unsqueeze(-1).float()), (h,)


@pytest.mark.parametrize("carry", [True, False], ids=["carried", "reset"])
def test_the_state_is_carried_and_detached_or_reset_and_starts_from_zero_each_epoch(carry):
    model = Spy()
    batches = [(torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1, dtype=torch.int64))] * 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        training.train_epoch(model, optimizer, iter(batches), clip=1, carry_state=carry, progress=lambda n: None)
    assert [None if state is None else state[0].item() for state in model.seen] == [
        None, 1 if carry else None, 2 if carry else None
    ] * 2  # fmt: skip
    assert not any(state[0].requires_grad for state in model.seen if state is not None)


@pytest.mark.parametrize("sampling", ["consecutive", "random"])
def test_a_run_carries_the_state_where_minibatches_follow_each_other_and_nowhere_else(song, sampling):
    settings = settings_of(build_parser().parse_args(["--corpus", song, *SMALL, "--sampling", sampling]))
    run, carried = Run(settings, load_corpus(song, 400)), []
    run.model.register_forward_pre_hook(lambda module, given: carried.append(given[1] is not None))
    run.train_epoch(lambda characters: None)
    assert len(carried) > 5
    assert carried == [False] + [sampling == "consecutive"] * (len(carried) - 1)


def test_metrics_tell_what_ran_and_what_came_out(song, tmp_path):
    metrics = train(song, tmp_path, "--epochs", 5, "--report-every", 2, "--cell", "lstm", "--backend", "reference")
    assert len(metrics["perplexity"]) == 5
    assert metrics["finished"] is True
    assert metrics["settings"]["cell"] == "lstm"
    assert metrics["settings"]["backend"] == "reference"
    assert metrics["settings"]["lr"] == 100
    assert metrics["versions"]["torch"] == torch.__version__
    assert metrics["versions"]["fusedrnn"] == fusedrnn.__version__
    assert {"python", "triton"} < set(metrics["versions"])
    assert metrics["characters"] == 400
    assert metrics["characters_per_epoch"] == (400 // 3 - 1) // 7 * 7 * 3
    assert metrics["vocabulary_size"] == 15
    assert metrics["seconds"] > 0
    told = [(sample["epoch"], sample["prefix"]) for sample in metrics["samples"]]
    assert told == [(epoch, prefix) for epoch in (2, 4, 5) for prefix in ("分开", "不分开")]
    assert all(
        sample["text"].startswith(sample["prefix"]) and len(sample["text"]) == len(sample["prefix"]) + 50
        for sample in metrics["samples"]
    )
    assert_whole(tmp_path)


def test_metrics_have_what_the_report_of_all_experiments_needs(song, tmp_path):
    metrics = train(song, tmp_path, "--epochs", 5, "--report-every", 2)
    assert metrics["experiment"] == "lyrics"
    assert metrics["data"].startswith("400 characters, 15 different ones, corpus ")
    assert metrics["data_is_fallback"] is False
    assert [row["epoch"] for row in metrics["table"]] == [1, 2, 4, 5]
    assert [row["perplexity"] for row in metrics["table"]] == [metrics["perplexity"][k] for k in (0, 1, 3, 4)]
    assert metrics["figures"] == ["perplexity.png"]
    assert f"{metrics['perplexity'][-1]:.4g} after 5" in metrics["conclusion"]


def test_a_quick_run_learns_more_than_the_frequencies(tmp_path, capsys):
    assert main(["--quick", "--out", str(tmp_path), "--device", "cpu"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    frequencies = float(metrics["conclusion"].split("alone would give ")[1].split(". ")[0])
    assert metrics["characters"] == 600
    assert metrics["perplexity"][-1] < frequencies / 2 < metrics["perplexity"][0] / 2
    assert metrics["conclusion"] in capsys.readouterr().out


def test_the_report_names_perplexity_texts_and_files(song, tmp_path, capsys):
    train(song, tmp_path, "--epochs", 2)
    captured = capsys.readouterr()
    assert "epoch 2, perplexity" in captured.out
    assert ": 不分开" in captured.out
    assert str(tmp_path / "perplexity.png") in captured.out
    assert "char/s" in captured.err
    assert "perplexity=" in captured.err


def test_a_text_without_the_prefixes_is_trained_on_and_the_skip_is_said(tmp_path, capsys):
    (tmp_path / "abc.txt").write_text("abcdefg分" * 30, encoding="utf-8")
    metrics = train(str(tmp_path / "abc.txt"), tmp_path / "out", "--epochs", 2)
    assert metrics["samples"] == []
    assert "no samples from 不分开: the text lacks 不开" in capsys.readouterr().out


def test_generate_writes_on_from_the_prefix_with_the_trained_model(song, tmp_path, capsys):
    train(song, tmp_path, "--epochs", 40)
    capsys.readouterr()
    sung = Path(song).read_text(encoding="utf-8")
    for where in (["--out", tmp_path], ["--checkpoint", tmp_path / "checkpoint.pt"]):
        assert main([*map(str, where), "--generate", sung[:8], "--device", "cpu"]) == 0
        assert capsys.readouterr().out == sung[:58] + "\n"
