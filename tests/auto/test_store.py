"""The file of decisions: whole at every moment, ignored where it is not ours, done without where it cannot be written."""

import json
import logging
import math
import time
from pathlib import Path

import pytest
import torch
from pretended_gpu import decision

import fusedrnn
from fusedrnn import FusedLSTM
from fusedrnn.auto import known, machine, measuring, settings, settle, store
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.machine import machine_of
from fusedrnn.auto.store import Decisions

CPU = torch.device("cpu")
MINE = Decision("triton", "the kernels are 2.00 times as fast", (0, 1), 1.0, 2.0, 0.5, 3.0)
OTHER = Decision("aten", "not measured here")


@pytest.fixture
def here():
    """The machine of this process."""
    return machine_of(CPU)


@pytest.fixture(autouse=True)
def said():
    """What is said once is said again in the next test."""
    store._say_once.cache_clear()


def test_a_decision_is_kept_as_it_was(fresh, here):
    store.begin(here, "a kind")
    store.end(here, "a kind", MINE)
    store.end(here, "another", OTHER)
    found = store.load(here)
    assert found.decisions["a kind"] == MINE
    assert found.decisions["another"].reason == OTHER.reason
    assert math.isnan(found.decisions["another"].ours_ms)
    assert (found.begun, found.wrong) == ({}, {})


def test_the_file_is_in_the_user_s_cache_folder(monkeypatch, fresh, here):
    platformdirs = pytest.importorskip("platformdirs")
    assert store.path_of(here) == fresh / f"{here.name}.json"
    monkeypatch.delenv(settings.FOLDER_VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(store.folder()) == platformdirs.user_cache_dir("fusedrnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(store.folder()) == platformdirs.user_cache_dir("fusedrnn") == "/somewhere/fusedrnn"
    monkeypatch.setenv(settings.FOLDER_VARIABLE, "~/mine")
    assert store.folder() == Path.home() / "mine"


CHANGES = {
    "card": "NVIDIA H100", "capability": (9, 0), "multiprocessors": 132, "fusedrnn": "9.9", "sources": "0" * 12, "torch": "9.9",
    "triton": "9.9", "cudnn": "99999",
}  # fmt: skip


@pytest.mark.parametrize("what", machine.Machine._fields)
def test_a_decision_does_not_hold_for_another_machine_or_version(fresh, here, what):
    store.end(here, "a kind", MINE)
    other = here._replace(**{what: CHANGES[what]})
    assert other.name != here.name
    assert store.load(other) == Decisions()
    store.path_of(here).rename(store.path_of(other))  # and not by its name alone
    assert store.load(other) == Decisions()


def test_a_card_of_any_name_has_a_file(here):
    assert here._replace(card="NVIDIA H100 80GB/MIG 1g.10gb (R)").name.startswith(
        "nvidia-h100-80gb-mig-1g-10gb-r-sm00-"
    )


def test_the_digest_of_the_sources_changes_with_them(tmp_path, monkeypatch):
    for folder in machine.MEASURED:
        (tmp_path / folder).mkdir()
    (tmp_path / "kernels" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(machine, "PACKAGE", tmp_path)
    digests = [machine._sources.__wrapped__()]
    (tmp_path / "kernels" / "a.py").write_text("x = 2\n")
    digests.append(machine._sources.__wrapped__())
    (tmp_path / "kernels" / "a.py").rename(tmp_path / "operators" / "a.py")
    digests.append(machine._sources.__wrapped__())
    assert len(set(digests)) == 3


def spoiled(change):
    """A file whose contents were changed."""

    def write(path):
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))

    return write


def of_kind(**values):
    return spoiled(lambda told: next(iter(told["decisions"].values())).update(values))


SPOILED = {
    "empty": lambda path: path.write_text(""),
    "half": lambda path: path.write_text(path.read_text()[:200]),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 100000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "another format": spoiled(lambda told: told.update(format=2)),
    "another machine": spoiled(lambda told: told["machine"].update(card="NVIDIA H100")),
    "no decisions": spoiled(lambda told: told.pop("decisions")),
    "decisions are a list": spoiled(lambda told: told.update(decisions=[])),
    "counts are words": spoiled(lambda told: told.update(begun={"a": "b"})),
    "a backend that does not exist": of_kind(backend="cudnn"),
    "rows are words": of_kind(rows=["a", "b"]),
    "three rows": of_kind(rows=[0, 0, 0]),
    "rows below the table": of_kind(rows=[-7, 0]),
    "rows beyond the table": of_kind(rows=[99, 0]),
    "a time is a list": of_kind(ours_ms=[]),
    "a huge row": of_kind(rows=[1e400, 0]),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_file_that_is_none_is_not_used_and_is_replaced(speeds, net, here, caplog, how):
    module, x = net
    module(x)
    path = store.path_of(here)
    SPOILED[how](path)
    known.forget()
    before = speeds.ran.copy()
    with caplog.at_level(logging.WARNING, logger="fusedrnn"):
        module(x)
    assert decision().backend == "triton"
    assert (speeds.ran - before)["torch"] > 1  # it was measured again
    if how == "rows beyond the table":
        assert caplog.messages == []
    else:
        assert str(path) in caplog.messages[0]
    if how != "a folder":
        assert store.load(here).decisions[str(next(iter(known.by_kind))[1])] == decision()


def test_a_folder_that_cannot_be_written_is_said_once_and_decisions_hold_for_the_process(speeds, net, fresh, caplog):
    module, x = net
    fresh.parent.mkdir(exist_ok=True)
    fresh.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, logger="fusedrnn"):
        module(x)
        FusedLSTM(3, 5)(x)
    assert [made.backend for made in known.by_kind.values()] == ["triton", "triton"]
    assert [message for message in caplog.messages if "decisions are not kept" in message] == [caplog.messages[-1]]
    counted = speeds.ran.copy()
    module(x)
    assert speeds.ran - counted == {"kernels": 1}
    assert fresh.read_text() == "a file where the folder should be"


def test_a_disk_that_is_full_leaves_the_old_file(fresh, here, monkeypatch):
    store.end(here, "a kind", MINE)
    before = store.path_of(here).read_text()

    def half(told, file, **options):
        file.write(json.dumps(told)[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", half)
    with pytest.raises(OSError, match="No space left"):
        store.end(here, "another", OTHER)
    assert store.path_of(here).read_text() == before
    assert [path.name for path in fresh.iterdir()] == [store.path_of(here).name]


def test_a_full_disk_does_not_reach_the_user(speeds, net, monkeypatch, caplog):
    module, x = net

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    module(x)
    assert decision().backend == "triton"
    assert "decisions are not kept: OSError: [Errno 28] No space left on device" in caplog.text


def test_shipped_decisions_come_first_the_user_s_file_wins(speeds, net, here, tmp_path, monkeypatch):
    module, x = net
    module(x)
    kind = str(next(iter(known.by_kind))[1])
    store.path_of(here).unlink()
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    with monkeypatch.context() as patched:
        patched.setenv(settings.FOLDER_VARIABLE, str(tmp_path / "shipped"))
        store.end(here, kind, OTHER)
    known.forget()
    before = speeds.ran.copy()
    module(x)
    assert decision().reason == OTHER.reason
    assert speeds.ran - before == {"torch": 1}
    store.end(here, kind, MINE)
    known.forget()
    module(x)
    assert decision() == MINE


def test_what_is_shipped_holds_for_the_kernels_of_this_checkout():
    """Decisions of older kernels would never be found: they are measured again before a release, or left out."""
    for path in store.SHIPPED.glob("*.json"):
        told = json.loads(path.read_text())["machine"]
        assert told["sources"] == machine_of(CPU).sources, path.name
        assert told["fusedrnn"] == fusedrnn.__version__, path.name


def test_a_measurement_that_did_not_end_is_tried_twice_more_and_then_left(speeds, net, here, caplog):
    module, x = net
    module(x)
    ((_, kind),) = known.by_kind
    store.path_of(here).unlink()
    for ended in (1, 2):
        known.forget()
        for _ in range(ended):
            store.begin(here, kind)  # and the process ended
        module(x)
        assert decision().backend == "triton"
        store.path_of(here).unlink()
    for _ in range(store.ATTEMPTS):
        store.begin(here, kind)
    known.forget()
    module(x)
    assert decision().reason.startswith("a measurement did not end 3 times")
    assert caplog.messages[-1].startswith(
        f"auto: a measurement of {kind} did not end 3 times; `python -m fusedrnn tune"
    )
    assert settle.tuned(kind, CPU, again=True).backend == "triton"
    assert store.load(here).begun == {}


def test_a_measurement_that_is_running_elsewhere_is_no_reason_to_give_up(speeds, net, here):
    """Without the lock, which says that nobody measures, notes say nothing."""
    module, x = net
    module(x)
    ((_, kind),) = known.by_kind
    store.path_of(here).unlink()
    for _ in range(store.ATTEMPTS):
        store.begin(here, kind)
    assert settle.kept(kind, here, alone=False) is None
    assert settle.kept(kind, here, alone=True).backend == "aten"


def test_an_interrupted_measurement_leaves_no_note(speeds, net, here, monkeypatch):
    module, x = net

    def interrupted(function, device):
        assert store.load(here).begun != {}
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "isolated", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module(x)
    assert store.load(here) == Decisions()
    assert known.by_kind == {}
    monkeypatch.undo()


def test_a_lock_that_another_process_holds_is_waited_for_as_long_as_the_budget(speeds, net, here):
    import filelock

    module, x = net
    store.path_of(here).parent.mkdir()
    fusedrnn.set_auto(budget=0.3)
    begun = time.monotonic()
    with filelock.FileLock(store.path_of(here).with_suffix(".lock")):
        module(x)
    assert 0.3 <= time.monotonic() - begun < 5
    assert decision().reason.startswith("another process is measuring: ")
    assert decision().backend == "aten"


def test_without_a_home_folder_decisions_hold_for_the_process(speeds, net, here, monkeypatch, caplog):
    module, x = net

    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    module(x)
    assert decision().backend == "triton"
    assert "expected a home folder, got none; FUSEDRNN_CACHE_DIR names another one" in caplog.text
    with pytest.raises(OSError, match="expected a home folder, got none"):
        store.folder()


def test_what_was_wrong_disables_the_card_until_that_kind_is_measured_again(speeds, net, here):
    module, x = net
    module(x)
    ((_, kind),) = known.by_kind
    store.end(here, "another kind", None, "h_n: relative error 3")
    known.forget()
    for again in (False, True):
        assert (
            settle.tuned(kind, CPU, again=again).reason == "the kernels are wrong on this card: h_n: relative error 3"
        )
    store.clear(here, "another kind")
    assert settle.tuned(kind, CPU, again=False).backend == "triton"
