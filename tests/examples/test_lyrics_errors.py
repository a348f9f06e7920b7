"""Whatever is wrong with the command line, the files or the machine, the user reads one line: expected and got."""

import errno
import io
import os
import re
from pathlib import Path

import pytest
import torch

from examples.common.errors import UserError
from examples.common.files import write_whole
from examples.lm.checkpoint import load_checkpoint
from examples.lyrics import main

TINY = ["--hidden", "4", "--batch-size", "2", "--steps", "5", "--epochs", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a finished run in `out`, its text, and broken relatives of its checkpoint."""
    root = tmp_path_factory.mktemp("trained")
    (root / "song.txt").write_text("ab分cd" * 20, encoding="utf-8")
    (root / "other.txt").write_text("ab分dc" * 20, encoding="utf-8")
    (root / "short.txt").write_text("ab分c", encoding="utf-8")
    assert main(["--corpus", str(root / "song.txt"), "--out", str(root / "out"), *TINY]) == 0
    content = (root / "out" / "checkpoint.pt").read_bytes()
    (root / "foreign.pt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    torch.save({"model": torch.zeros(3)}, root / "stranger.pt")
    torch.save([1, 2], root / "list.pt")
    for name, bad in {"half": content[: len(content) // 2], "almost": content[:-1], "empty": b""}.items():
        (root / f"{name}.pt").write_bytes(bad)
        (root / name).mkdir()
        (root / name / "checkpoint.pt").write_bytes(bad)
    return root


def error_of(capsys, *arguments: str) -> str:
    """Run the program, which must fail with code 2 and one line of error (under the bar, if any); return the line."""
    capsys.readouterr()
    assert main(arguments) == 2
    *bar, line = capsys.readouterr().err.splitlines()
    assert line.startswith("lyrics.py: error: ")
    assert not [above for above in bar if above and "char/s" not in above]
    return line.removeprefix("lyrics.py: error: ")


BAD_OPTIONS = {
    "unknown backend": ("--backend cudnn", r"argument --backend: invalid choice: 'cudnn' \(choose from .*aten.*\)"),
    "unknown cell": ("--cell elman", r"argument --cell: invalid choice: 'elman'"),
    "unknown option": ("--hiden 3", r"unrecognized arguments: --hiden 3"),
    "zero epochs": ("--epochs 0", r"argument --epochs: expected a positive whole number, got '0'"),
    "negative hidden": ("--hidden -3", r"argument --hidden: expected a positive whole number, got '-3'"),
    "half a layer": ("--layers 0.5", r"argument --layers: expected a positive whole number, got '0.5'"),
    "zero steps": ("--steps 0", r"argument --steps: expected a positive whole number, got '0'"),
    "no batch": ("--batch-size 0", r"argument --batch-size: expected a positive whole number, got '0'"),
    "no characters": ("--max-chars 0", r"argument --max-chars: expected a positive whole number, got '0'"),
    "no report": ("--report-every 0", r"argument --report-every: expected a positive whole number, got '0'"),
    "zero lr": ("--lr 0", r"argument --lr: expected a positive number, got '0'"),
    "nan lr": ("--lr nan", r"argument --lr: expected a positive number, got 'nan'"),
    "endless clip": ("--clip inf", r"argument --clip: expected a positive number, got 'inf'"),
    "lr in words": ("--lr high", r"argument --lr: expected a positive number, got 'high'"),
    "negative seed": ("--seed -1", r"argument --seed: expected a whole number from 0 to 2\*\*63 - 1, got '-1'"),
    "unknown device": ("--device tpu", r"argument --device: expected auto, cpu, cuda or cuda:N, got 'tpu'"),
    "device of another kind": ("--device meta", r"expected auto, cpu, cuda or cuda:N, got 'meta'"),
    "a GPU too many": ("--device cuda:99", r"expected a device that is there, got 'cuda:99' with \d+ CUDA devices"),
    "missing corpus": ("--corpus none.txt", r"expected a readable corpus file, got none.txt: No such file"),
    "generate and resume": ("--resume --generate a", r"argument --generate: not allowed with argument --resume"),
    "no checkpoint to resume": ("--resume", r"expected a checkpoint file, got .*checkpoint.pt: No such file"),
    "no checkpoint to write with": ("--generate a", r"expected a checkpoint file, got .*checkpoint.pt: No such file"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_options(trained, tmp_path, capsys, options, message):
    corpus = ["--corpus", str(trained / "song.txt")]
    assert re.search(message, error_of(capsys, *corpus, "--out", str(tmp_path / "out"), *TINY, *options.split()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")
@pytest.mark.parametrize("what", ["train", "generate"])
def test_a_backend_that_cannot_serve_here(trained, tmp_path, monkeypatch, capsys, what):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    if what == "train":
        arguments = ["--corpus", str(trained / "song.txt"), "--out", str(tmp_path), *TINY]
    else:
        arguments = ["--generate", "a", "--out", str(trained / "out"), "--device", "cpu"]
    message = error_of(capsys, *arguments, "--backend", "triton")
    assert message.startswith("backend 'triton' cannot serve this call: expected a CUDA device, got none")


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")
def test_cuda_where_there_is_none(capsys):
    assert "got 'cuda' with 0 CUDA devices" in error_of(capsys, "--device", "cuda")


@pytest.mark.parametrize("sampling", ["consecutive", "random"])
def test_a_text_that_is_too_short(trained, tmp_path, capsys, sampling):
    corpus = str(trained / "short.txt")
    message = error_of(capsys, "--corpus", corpus, "--sampling", sampling, "--out", str(tmp_path))
    assert re.search(r"expected a corpus of at least 11\d\d characters .*batch 32 and 35 steps, got 4", message)


def test_output_that_cannot_be_written(trained, capsys):
    corpus = ["--corpus", str(trained / "song.txt")]
    for out in (trained / "song.txt", trained / "song.txt" / "below", Path("/dev/null/out"), Path("/proc")):
        message = error_of(capsys, *corpus, "--out", str(out), *TINY)
        assert message.startswith(f"expected a writable output directory, got {out}: ")


@pytest.mark.parametrize("name", ["half", "almost", "empty", "foreign", "stranger", "list"])
def test_a_checkpoint_that_is_cut_or_none_of_ours(trained, capsys, name):
    message = error_of(capsys, "--generate", "a", "--checkpoint", str(trained / f"{name}.pt"))
    assert re.fullmatch(r"expected a (whole )?checkpoint of lyrics.py.*, got .*", message)
    assert f"{name}.pt" in message


@pytest.mark.parametrize("name", ["half", "almost", "empty"])
def test_resuming_from_a_cut_checkpoint(trained, capsys, name):
    message = error_of(capsys, "--resume", "--out", str(trained / name))
    assert message.startswith("expected a whole checkpoint of lyrics.py, got ")


def test_a_checkpoint_runs_no_code(tmp_path):
    class Boom:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    buffer = io.BytesIO()
    torch.save({"format": Boom()}, buffer)
    (tmp_path / "bad.pt").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="expected a whole checkpoint"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("ax分y", r"expected characters of the training text's vocabulary \(5\), got 'xy'"),
        ("", r"expected a prefix of at least one character, got none"),
    ],
    ids=["unknown characters", "empty"],
)
def test_a_prefix_that_the_model_cannot_read(trained, capsys, prefix, message):
    assert re.search(message, error_of(capsys, "--generate", prefix, "--out", str(trained / "out")))


OTHER_SETTINGS = {
    "--cell lstm": r"expected the checkpoint's --cell gru to resume it, got lstm",
    "--hidden 5": r"expected the checkpoint's --hidden 4 to resume it, got 5",
    "--batch-size 3": r"expected the checkpoint's --batch-size 2 to resume it, got 3",
    "--lr 3": r"expected the checkpoint's --lr 100.0 to resume it, got 3.0",
    "--seed 1": r"expected the checkpoint's --seed 0 to resume it, got 1",
    "--epochs 2": r"expected --epochs above the 2 that are trained, got 2",
}


@pytest.mark.parametrize(("options", "message"), OTHER_SETTINGS.items(), ids=OTHER_SETTINGS)
def test_resuming_with_other_settings(trained, capsys, options, message):
    assert re.search(message, error_of(capsys, "--resume", "--out", str(trained / "out"), *options.split()))


def test_resuming_on_another_text(trained, capsys):
    options = ["--corpus", str(trained / "other.txt"), "--epochs", "9"]
    message = error_of(capsys, "--resume", "--out", str(trained / "out"), *options)
    assert re.search(r"expected the text that the checkpoint was trained on \(sha256 \w{12}\), got another", message)


def test_training_that_diverges(trained, tmp_path, capsys):
    corpus = ["--corpus", str(trained / "song.txt"), "--out", str(tmp_path)]
    message = error_of(capsys, *corpus, *TINY[:-4], "--epochs", "3", "--lr", "1e30", "--clip", "1e30")
    assert re.search(r"expected training to lower the loss, got (nan|inf|\d.*) a character: lower --lr", message)


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_whole(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"expected to write .*metrics.json, got: No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]
