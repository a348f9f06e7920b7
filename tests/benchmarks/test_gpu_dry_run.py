"""The whole program on a CPU: every phase, a wrong kernel, a killed worker, a run cut off in the middle and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

import bare_machine

from benchmarks.gpu import phases
from benchmarks.measuring.records import DECISIONS, load

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU runs the program itself")
ROOT = Path(__file__).parents[2]
RECORDS = ("compile", "gate", "baseline", "gpu", "auto", "steps", "tuning", "options", "tests")


def started(out, *arguments):
    """The program, in a process group of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--out", str(out), *arguments]
    bare = bare_machine.environment(out.parent)
    with (out.parent / f"{out.name}.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=bare
        )


def log_of(out):
    return (out.parent / f"{out.name}.log").read_text()


def until(out, name, found, process, limit=120.0):
    """Wait until a record's rows satisfy `found`."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and process.poll() is None:
        path = out / f"{name}.json"
        if path.exists() and found(load(path).rows):
            return
        time.sleep(0.02)
    raise AssertionError(log_of(out))


def worker_of(process):
    """The process id of the program's worker."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == process.pid and b"spawn_main" in command:
            return int(folder.name)
    raise AssertionError("expected a worker, got none")


def test_a_run_with_a_wrong_kernel_cut_off_in_the_middle_gone_on_with_and_robbed_of_its_worker(tmp_path):
    out = tmp_path / "out"
    arguments = ("--minutes", "15", "--spoil", "lstm/alone")
    first = started(out, *arguments)
    until(out, "baseline", lambda rows: len(rows) >= 2, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    again = started(out, *arguments)
    until(out, "gpu", lambda rows: rows[-1]["suite"] == "layer", again)
    os.kill(worker_of(again), signal.SIGKILL)
    assert again.wait(timeout=300) == 1, log_of(out)  # a kernel is wrong
    every_phase_leaves_its_record(out)
    kernels_were_compiled_for_an_absent_chip(out)
    the_wrong_kernel_fails_with_evidence_and_the_others_pass(out)
    what_the_wrong_kernel_runs_is_left_out_and_the_rest_is_measured(out)
    auto_decides_for_what_passed_and_keeps_it(out)
    the_killed_worker_cost_one_case_and_was_replaced(out)
    what_was_measured_before_the_cut_is_there_once(out)
    the_tests_say_how_far_they_came(out)
    another_run_has_nothing_to_do(out)


def rows(out, name):
    return load(out / f"{name}.json").rows


def every_phase_leaves_its_record(out):
    expected = [*(f"{name}.json" for name in RECORDS), "gpu.png", DECISIONS]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    log = log_of(out)
    for phase in phases.PHASES:
        assert f"] {phase.name}: until " in log
    assert "no time left" not in log
    assert "not done" not in log


def kernels_were_compiled_for_an_absent_chip(out):
    summary, *kernels = rows(out, "compile")
    assert (summary["errors"], "error" in summary) == (0, False)
    assert summary["done"] == summary["wanted"] >= 4
    assert all(row["seconds"] > 0 for row in kernels if row["peer"] == "compiler")


def the_wrong_kernel_fails_with_evidence_and_the_others_pass(out):
    found = {(row["cell"], row["form"], row["sweep"]): row for row in rows(out, "gate") if "sweep" in row}
    failed = {about for about, row in found.items() if row["verdict"] == "failed"}
    assert failed == {("lstm", "alone", "forward"), ("lstm", "alone", "backward")}
    assert found["lstm", "alone", "forward"]["first_step"] == 2
    assert found["gru", "alone", "forward"]["verdict"] == found["lstm", "registers", "backward"]["verdict"] == "passed"
    assert "the alone forward sweep of lstm, tf32\n" in log_of(out)


def what_the_wrong_kernel_runs_is_left_out_and_the_rest_is_measured(out):
    measured = {
        (row["suite"], row["cell"]) for row in rows(out, "gpu") if row.get("peer") == "ours" and "error" not in row
    }
    assert {("layer", "gru"), ("packed", "gru"), ("dropout", "dropout"), ("memory", "gru")} <= measured
    steps = {row["key"]: row for row in rows(out, "steps")}
    assert "us_a_step" in steps["step: forward of lstm fp32 B2 H20"]  # another form
    assert rows(out, "tuning")[-1]["error"] == "left out: the alone forward sweep of lstm, tf32 failed the gate"
    norm, resets = rows(out, "options")
    assert (norm["verdict"], norm["name"], norm["ratio"] > 0) == ("passed", "layer_norm", True)
    assert resets["error"] == "left out: the alone forward sweep of lstm, tf32 failed the gate"


def auto_decides_for_what_passed_and_keeps_it(out):
    forward, training, lstm = rows(out, "auto")
    for row in (forward, training):
        assert (row["backend"], row["record"], row["agrees"]) == ("aten", "gpu", True)
        assert row["lookup_s"] < row["seconds"]
    assert lstm["error"] == "left out: the alone forward sweep of lstm, tf32 failed the gate"
    (kept,) = (out / DECISIONS).glob("*.json")
    assert set(json.loads(kept.read_text())["decisions"]) == {forward["kind"], training["kind"]}
    assert "auto: 2 decided, 0 for the kernels, 0 at odds with the record, 1 without a decision" in log_of(out)


def the_killed_worker_cost_one_case_and_was_replaced(out):
    died = [row for row in rows(out, "gpu") if "error" in row and row.get("verdict") != "not run"]
    assert [row["error"] for row in died] == ["expected an answer, got a process that died with exit code -9"]
    assert len(rows(out, "gpu")) > 15


def what_was_measured_before_the_cut_is_there_once(out):
    assert log_of(out).count("gate: gru fp32 alone H9\n") == 1
    for name in ("gate", "baseline", "gpu", "auto", "tuning", "options", "tests"):
        about = Counter((row["key"], row.get("peer"), row.get("sweep"), row.get("cache")) for row in rows(out, name))
        about = {what: count for what, count in about.items() if what[1] != "variant"}
        assert set(about.values()) == {1}, name


def the_tests_say_how_far_they_came(out):
    summary = rows(out, "tests")[0]
    assert (summary["collected"], summary["passed"], summary["not_reached"]) == (2, 2, 0)


def another_run_has_nothing_to_do(out):
    before = {name: (out / f"{name}.json").read_bytes() for name in RECORDS[1:-1]}
    assert started(out, "--minutes", "15", "--spoil", "lstm/alone").wait(timeout=300) == 1
    assert {name: (out / f"{name}.json").read_bytes() for name in RECORDS[1:-1]} == before
    summary = [row for row in rows(out, "compile") if row["key"] == "compile"][-1]
    assert (summary["new"], summary["done"]) == (0, summary["wanted"])


@pytest.mark.slow
def test_it_is_over_when_the_minutes_are(tmp_path):
    begun = time.monotonic()
    process = started(tmp_path / "out", "--minutes", "0.4")
    assert process.wait(timeout=120) == 0, log_of(tmp_path / "out")
    assert time.monotonic() - begun <= 24 + 5  # the rest is Python's start and end
    found = list((tmp_path / "out").glob("*.json"))  # which of them depends on how fast a process starts
    assert found
    assert all(load(path).rows for path in found)
