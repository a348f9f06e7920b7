"""Several processes: they measure once, take the same decision as ranks, and survive one that dies in the middle."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from fusedrnn.auto import agree, store
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.machine import machine_of

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "tests" / "helpers" / "auto_worker.py"


def start(folder, **asked):
    """A worker whose decisions go to `folder`."""
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "FUSEDRNN_CACHE_DIR": str(folder), "PYTHONPATH": paths}
    command = [sys.executable, str(WORKER), json.dumps(asked)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process):
    """What a worker found."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out)


def test_two_processes_at_once_measure_once(fresh, tmp_path):
    (tmp_path / "meet").mkdir()
    asked = {"task": "measure", "meet": str(tmp_path / "meet"), "processes": 2}
    found = [said(process) for process in [start(fresh, **asked), start(fresh, **asked)]]
    assert {one["backend"] for one in found} == {"triton"}
    assert sorted(one["ran"] > 1 for one in found) == [False, True]
    assert len(store.load(machine_of(torch.device("cpu"))).decisions) == 1


def test_a_process_that_dies_in_a_measurement_leaves_a_whole_file_and_a_note(fresh):
    process = start(fresh, task="crash")
    process.communicate(timeout=120)
    assert process.returncode == 7
    (kept,) = [path for path in fresh.iterdir() if path.suffix == ".json"]
    assert list(json.loads(kept.read_text())["begun"].values()) == [1]
    assert not [path.name for path in fresh.iterdir() if path.name.startswith(".")]
    (tried,) = store.load(machine_of(torch.device("cpu"))).begun.values()
    assert tried == 1


def test_ranks_take_the_same_decision_and_wait_for_none(tmp_path):
    """On nodes without a shared folder. Rank 0 finds the kernels faster, rank 1 slower."""
    (tmp_path / "meet").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = {"task": "rank", "meet": str(tmp_path / "meet"), "processes": 2, "port": port}
    workers = [start(tmp_path / str(k), rank=k, kernels_s=(1.0, 4.0)[k], **asked) for k in (0, 1)]
    zero, one = [said(process) for process in workers]
    assert zero["both"]["reason"] == one["both"]["reason"]
    assert (zero["alone"]["backend"], zero["alone"]["ran"] > 1) == ("triton", True)
    assert (one["alone"]["reason"], one["alone"]["ran"]) == (zero["alone"]["reason"], 1)
    assert zero["third"]["backend"] == "triton"
    assert one["third"] == {"backend": "aten", "reason": "the kernels are wrong on this card: this one", "ran": 0}


def test_cards_of_two_types_do_not_share_decisions(monkeypatch):
    table, here = torch.distributed.HashStore(), machine_of(torch.device("cpu"))
    monkeypatch.setattr(agree, "_store", lambda: table)
    mine = Decision("triton", "mine", ours_ms=1.0, torch_ms=2.0, error=0.5)
    assert agree.offer(here, "a kind", mine) == mine
    assert agree.offer(here, "a kind", Decision("aten", "later")) == agree.agreed(here, "a kind") == mine
    assert agree.agreed(here._replace(card="NVIDIA H100"), "a kind") is None
    assert agree.agreed(here, "another kind") is None


class Gone:
    """A store whose server is gone."""

    def check(self, keys):
        raise ConnectionError("gone")

    compare_set = get = check


def test_a_rank_whose_store_is_gone_decides_alone(monkeypatch, caplog):
    monkeypatch.setattr(agree, "_store", Gone)
    mine, machine = Decision("triton", "mine"), machine_of(torch.device("cpu"))
    assert agree.agreed(machine, "a kind") is None
    assert agree.offer(machine, "a kind", mine) is mine
    assert "this rank decides alone: ConnectionError: gone" in caplog.text
