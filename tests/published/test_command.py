"""How `python -m tests.published` ends and what it says, without a network."""

import zipfile

import pytest
import torch

from tests.published import command
from tests.published.check import Outcome
from tests.published.command import main
from tests.published.models import MODELS
from tests.published.wheels import WheelError, fetch


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Everything is installed, every wheel is an empty file, and every check finds what it expects."""
    monkeypatch.setattr(command, "find_spec", lambda name: name)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)

    def empty(wheel, folder):
        path = folder / wheel.file
        zipfile.ZipFile(path, "w").close()
        return path

    monkeypatch.setattr(command, "fetch", empty)
    same = {"output": 0.0, "gradient": 0.0, "onnx": {"TorchScript": (0.0, 1e-6)}}
    monkeypatch.setattr(command, "check", lambda model, archive: Outcome(model, model.recurrent, **same))


def test_all_is_as_expected(tmp_path, capsys):
    assert main(["--wheels", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == list(MODELS)
    assert lines[-1] == "7 models are as they were"


def test_a_failure_ends_with_1(tmp_path, capsys, monkeypatch):
    wrong = Outcome(MODELS["kraken"], failures=["kraken: expected this, got that"])
    monkeypatch.setattr(command, "check", lambda model, archive: wrong)
    assert main(["--wheels", str(tmp_path), "--only", "kraken"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "kraken: expected this, got that"


def test_a_wheel_that_cannot_be_fetched_ends_with_1_and_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    empty = command.fetch

    def sometimes(wheel, folder):
        if wheel.package == "kraken":
            raise WheelError("expected pip to fetch kraken==7.1.1, got: no network")
        return empty(wheel, folder)

    monkeypatch.setattr(command, "fetch", sometimes)
    assert main(["--wheels", str(tmp_path), "--only", "kraken", "medaka-cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("kraken: expected pip to fetch kraken==7.1.1, got: no network (without a network, ")
    assert [line.split()[0] for line in lines[2:-1]] == ["medaka-cpu"]


def test_nothing_can_be_fetched(tmp_path, capsys, monkeypatch):
    def never(wheel, folder):
        raise WheelError("no network")

    monkeypatch.setattr(command, "fetch", never)
    assert main(["--wheels", str(tmp_path), "--only", "kraken"]) == 1
    assert capsys.readouterr().out == (
        "kraken: no network (without a network, --wheels may name a folder that has the file)\n"
    )


def test_a_folder_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(command, "fetch", fetch)
    assert main(["--wheels", str(tmp_path / "file"), "--only", "kraken"]) == 1
    assert capsys.readouterr().out.startswith("kraken: [Errno ")


def test_what_is_not_installed_is_told_before_anything_is_fetched(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "onnxscript" else name)
    assert main(["--wheels", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "expected onnx, onnxruntime, onnxscript to be installed, got no onnxscript\n"
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "ours"])
    assert "invalid choice: 'ours'" in capsys.readouterr().err


def test_wheels_are_kept_in_the_user_s_cache(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    (tmp_path / "fusedrnn" / "wheels").mkdir(parents=True)
    assert main(["--only", "kraken"]) == 0
    assert [path.name for path in (tmp_path / "fusedrnn" / "wheels").iterdir()] == [MODELS["kraken"].wheel.file]
