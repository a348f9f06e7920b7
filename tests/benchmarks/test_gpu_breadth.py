"""Tests that may hang or kill their process, in a run that may be over before they are: every result is kept, none is run twice."""

import itertools
import os
import re
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import breadth, children
from benchmarks.gpu.breadth import Pass, Results, Running
from benchmarks.gpu.children import Child, listened
from benchmarks.gpu.progress import dealt
from benchmarks.gpu.session import Session
from benchmarks.gpu.worker import Worker
from benchmarks.measuring.records import load

TESTS = """
import os, time
import pytest

def test_first():
    pass

def test_fails():
    assert 1 + 1 == 3

@pytest.mark.slow
def test_slow():
    pass

def test_hangs():
    time.sleep(600)

def test_dies():
    os._exit(5)

def test_skips():
    pytest.skip("no such thing here")

def test_last():
    pass
"""
ENDS = {
    "test_first": "passed", "test_fails": "failed", "test_slow": "passed", "test_hangs": "hung", "test_dies": "died",
    "test_skips": "skipped", "test_last": "passed",
}  # fmt: skip


def told(command, until=30.0):
    """What a Python program tells, then None for its end."""
    child = Child([sys.executable, "-c", command], dict(os.environ))
    running, messages = [child], []
    for heard in listened(running, time.monotonic() + until):
        if heard is not None:
            messages.append(heard[1])
            if heard[1] is None:
                running.remove(child)
    return child, messages


def test_a_child_tells_and_what_it_prints_is_kept():
    child, messages = told(
        "from benchmarks.gpu.children import tell\n"
        "print('hello'); tell({'a': 1}); tell({'b': 'x' * 100_000}); raise SystemExit(3)"
    )  # fmt: skip
    assert messages == [{"a": 1}, {"b": "x" * 100_000}, None]
    assert child.tail() == "hello\n"
    assert child.end() == 3


def test_a_child_that_goes_on_is_killed_with_what_it_started(tmp_path):
    grandchild = f"import time; time.sleep(3); open({str(tmp_path / 'alive')!r}, 'w')"
    child, messages = told(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(600)",
        until=1.5,
    )
    assert messages == []
    assert child.kill() == -9
    time.sleep(3)
    assert not (tmp_path / "alive").exists()


def test_without_a_parent_nothing_is_told(monkeypatch):
    monkeypatch.delenv(children.VARIABLE, raising=False)
    children.tell({"a": 1})


def test_every_test_is_dealt_to_one_shard():
    names = [f"t{i}" for i in range(11)]
    shares = [dealt(names, shard, 3, {"t4"}) for shard in range(3)]
    assert shares[0] == ["t0", "t3", "t6", "t9"]
    assert sorted(itertools.chain(*shares), key=names.index) == [name for name in names if name != "t4"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "test_some.py"
    path.write_text(TESTS)
    return path


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(breadth, "LIMIT_S", 2.0)
    return Session(tmp_path / "out", 1.0, True, time.monotonic(), {"breadth": 0.9}, Worker(), {"device": "cpu"})


def passes(monkeypatch, *wanted):
    monkeypatch.setattr(breadth, "passes", lambda *, dry: wanted)


def outcomes(session):
    rows = load(session.out / "tests.json").rows
    return {row["key"].partition("::")[2]: row["outcome"] for row in rows if row["peer"] == "pytest"}


def test_a_result_is_written_as_it_comes(session):
    Results(session, session.record("tests")).save({"key": "t", "peer": "pytest", "outcome": "passed"})
    assert [row["key"] for row in load(session.out / "tests.json").rows] == ["t"]


def test_a_warning_and_a_file_that_cannot_be_imported_cost_nothing_else(tmp_path, session, monkeypatch):
    (tmp_path / "test_a.py").write_text("import no_such_module\n")
    (tmp_path / "test_b.py").write_text("import warnings\ndef test_warns():\n    warnings.warn('of this version')\n")
    passes(monkeypatch, Pass("all", (str(tmp_path / "test_a.py"), str(tmp_path / "test_b.py")), 1))
    breadth.run(session)
    assert outcomes(session) == {"test_warns": "passed"}


def test_the_tests_keep_decisions_in_a_folder_that_is_gone_after_them(tmp_path, session, monkeypatch):
    kept = tmp_path / "kept.txt"
    test = f"import os\ndef test_tells():\n    open({str(kept)!r}, 'w').write(os.environ['FUSEDRNN_CACHE_DIR'])\n"
    (tmp_path / "test_it.py").write_text(test)
    monkeypatch.setenv("FUSEDRNN_CACHE_DIR", str(tmp_path))
    passes(monkeypatch, Pass("all", (str(tmp_path / "test_it.py"),), 1))
    breadth.run(session)
    folder = Path(kept.read_text())
    assert folder.name == "decisions"
    assert not folder.is_relative_to(tmp_path)
    assert not folder.parent.exists()


@pytest.mark.parametrize("shards", [1, 3])
def test_every_test_has_its_outcome_whatever_the_others_do(file, session, monkeypatch, shards):
    passes(monkeypatch, Pass("all", (str(file),), shards))
    row = breadth.run(session)
    assert outcomes(session) == ENDS
    assert {name: row[name] for name in ("collected", "passed", "failed", "skipped", "hung", "died", "not_reached")} == {
        "collected": 7, "passed": 3, "failed": 1, "skipped": 1, "hung": 1, "died": 1, "not_reached": 0,
    }  # fmt: skip
    rows = {row["key"].partition("::")[2]: row for row in load(session.out / "tests.json").rows}
    assert "assert (1 + 1) == 3" in rows["test_fails"]["text"]
    assert "no such thing here" in rows["test_skips"]["text"]
    assert rows["test_hangs"]["text"] == "expected an end within the limit, got none: killed"
    assert rows["test_dies"]["exit"] == 5
    assert load(session.out / "tests.json").rows[0]["key"] == "tests"


def test_what_has_a_result_is_not_run_again(file, session, monkeypatch):
    passes(monkeypatch, Pass("all", (str(file), "-k", "first or fails"), 1))
    breadth.run(session)
    rows = {row["key"].partition("::")[2]: row for row in load(session.out / "tests.json").rows}
    passes(monkeypatch, Pass("all", (str(file), "-k", "first or fails or last"), 2))
    again = breadth.run(session)
    assert (again["collected"], again["passed"], again["failed"]) == (3, 2, 1)
    assert [row["peer"] for row in load(session.out / "tests.json").rows].count("summary") == 1
    later = {row["key"].partition("::")[2]: row for row in load(session.out / "tests.json").rows}
    assert all(later[name] == rows[name] for name in ("test_first", "test_fails"))


def test_long_tests_are_at_the_end_and_have_more_time(file, session, monkeypatch):
    monkeypatch.setattr(breadth, "SLOW_LIMIT_S", 30.0)
    passes(monkeypatch, Pass("all", (str(file), "-k", "first or slow or last"), 1))
    breadth.run(session)
    assert list(outcomes(session)) == ["test_first", "test_last", "test_slow"]
    results = Results(session, session.record("tests"), slow={"a"})
    running = Running.__new__(Running)
    share = breadth.Share(0, None, test="a", since=time.monotonic() - 5)
    running._results, running._children = results, [None]
    assert not running._hangs(share)
    share.test = "b"
    assert running._hangs(share)


def test_when_the_time_is_over_nothing_is_left_running_and_it_says_how_far_it_came(file, session, monkeypatch):
    monkeypatch.setattr(breadth, "LIMIT_S", 600.0)
    session.shares["breadth"] = 0.1  # of a minute
    passes(monkeypatch, Pass("all", (str(file),), 1), Pass("more", (str(file), "-k", "first"), 1))
    begun = time.monotonic()
    row = breadth.run(session)
    assert time.monotonic() - begun < 12
    assert row["not_reached"] > 0
    assert set(outcomes(session).values()) <= {"passed", "failed"}


def test_a_share_that_cannot_even_collect_is_not_started_for_ever(tmp_path, session, monkeypatch):
    (tmp_path / "conftest.py").write_text("import os\nos._exit(7)\n")
    path = tmp_path / "test_none.py"
    path.write_text("def test_none():\n    pass\n")
    passes(monkeypatch, Pass("all", (str(path),), 1))
    breadth.run(session)
    rows = [row for row in load(session.out / "tests.json").rows if row["peer"] == "share"]
    assert [(row["outcome"], row["exit"]) for row in rows] == [("died", 7)] * breadth.STARTS


def test_the_real_passes_run_the_gpu_tests_and_those_alone_after_them(monkeypatch):
    side, alone = breadth.passes(dry=False)
    assert side.arguments == (*breadth.FILES, "-m", "gpu and not alone")
    assert 1 <= side.shards <= breadth.SHARDS
    assert (alone.arguments, alone.shards) == ((*breadth.FILES, "-m", "gpu and alone"), 1)
    tests = Path(__file__).parents[1]
    marked = {path for path in tests.rglob("test_*.py") if re.search(r"pytest\.mark\.gpu\b", path.read_text("utf-8"))}
    assert {tests.parent / name for name in breadth.FILES} == marked - {Path(__file__)}
    marked = (tests / "gpu" / "test_runtime.py").read_text(encoding="utf-8")
    assert marked.count("@pytest.mark.alone") == 5
