"""The lyrics program stopped and resumed: by its number of epochs, by Ctrl-C, by a signal to its process."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lyrics_runs import SMALL, assert_whole, parameters, train

from examples.lm import training
from examples.lm.checkpoint import load_checkpoint, save_checkpoint
from examples.lm.interrupt import Stopped, stop_on_ctrl_c
from examples.lyrics import main


@pytest.mark.parametrize(
    "options",
    [["--cell", "rnn"], ["--cell", "gru", "--optimizer", "adam"], ["--cell", "lstm", "--sampling", "random"]],
    ids=["rnn-sgd", "gru-adam", "lstm-random"],
)
def test_a_resumed_run_gives_the_numbers_of_one_that_was_never_cut(song, tmp_path, options):
    whole = train(song, tmp_path / "whole", *options, "--epochs", 7)
    first = train(song, tmp_path / "cut", *options, "--epochs", 3)
    assert first["perplexity"] == whole["perplexity"][:3]
    checkpoint = tmp_path / "cut" / "checkpoint.pt"
    save_checkpoint(checkpoint, replace(load_checkpoint(checkpoint), seconds=1000.0))
    assert main(["--resume", "--out", str(tmp_path / "cut"), "--epochs", "7"]) == 0  # the rest is as it was
    resumed = json.loads((tmp_path / "cut" / "metrics.json").read_text(encoding="utf-8"))
    assert resumed["perplexity"] == whole["perplexity"]
    assert resumed["settings"] == whole["settings"]
    assert resumed["samples"] == first["samples"] + whole["samples"]
    assert resumed["seconds"] > 1000
    for name, value in parameters(tmp_path / "whole").items():
        assert torch.equal(value, parameters(tmp_path / "cut")[name]), name


@pytest.fixture
def listening():
    """SIGINT raises KeyboardInterrupt here and in child processes, also if the tests were started with it ignored (nohup)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_in_the_middle_of_an_epoch_loses_only_that_epoch(song, tmp_path, monkeypatch, capsys):
    options = ["--sampling", "random", "--optimizer", "adam", "--epochs", 6]  # what there is to remember
    whole = train(song, tmp_path / "whole", *options)
    clip, calls = training.clip_gradients_, []

    def press_ctrl_c_in_the_fourth_epoch(*arguments):
        calls.append(arguments)
        if len(calls) == 3 * 19 + 5:
            signal.raise_signal(signal.SIGINT)
        return clip(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "clip_gradients_", press_ctrl_c_in_the_fourth_epoch)
        cut = train(song, tmp_path / "cut", *options, expect=130)
    assert cut["perplexity"] == whole["perplexity"][:3]
    assert cut["finished"] is False
    assert f"go on with: python examples/lyrics.py --resume --out {tmp_path / 'cut'}" in capsys.readouterr().out
    assert_whole(tmp_path / "cut")
    assert main(["--resume", "--out", str(tmp_path / "cut")]) == 0
    resumed = json.loads((tmp_path / "cut" / "metrics.json").read_text(encoding="utf-8"))
    assert resumed["perplexity"] == whole["perplexity"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("listening")
def test_a_second_ctrl_c_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_ctrl_c() as stop:
        stop.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("listening")
def test_a_program_started_with_sigint_ignored_keeps_ignoring_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_on_ctrl_c() as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop.made
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("listening")
def test_a_process_that_gets_sigint_leaves_a_usable_checkpoint_and_exits_130(song, tmp_path):
    program = Path(__file__).parents[2] / "examples" / "lyrics.py"
    command = [sys.executable, program, "--corpus", song, "--out", tmp_path, *SMALL, "--epochs", "100000"]
    with subprocess.Popen(
        [*map(str, command), "--report-every", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "go on with: python examples/lyrics.py --resume --out" in out
    assert_whole(tmp_path)
    trained = len(load_checkpoint(tmp_path / "checkpoint.pt").perplexity)
    assert trained >= 2
    assert main(["--resume", "--out", str(tmp_path), "--epochs", str(trained + 1)]) == 0
    assert len(load_checkpoint(tmp_path / "checkpoint.pt").perplexity) == trained + 1
