"""The campaign's phase "auto": what is decided by a call, what its row says, and what a wrong kernel costs."""

import json
import os
import time

import pytest
import torch

pytest.importorskip("triton")

from auto_cases import told_of_a_wrong_result

from benchmarks.gpu import cases, decisions, gate, phases, run
from benchmarks.gpu.session import Session
from benchmarks.gpu.worker import Worker
from benchmarks.measuring.cases import Case
from benchmarks.measuring.goals import GOALS, SHAPE, shape_of
from benchmarks.measuring.plots import records
from benchmarks.measuring.records import DECISIONS, Record, load
from fusedrnn.auto import choose, known, settings, settle, trial
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.errors import NotMeasuredError, WrongResultError
from fusedrnn.modules import base

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="tries the phase in the interpreter")
HERE = {"device": "cpu", "sources": "abc", "torch": "2", "triton": "3", "interpreted": True}
CASE = Case("layer", "gru", "fp32", T=3, B=2, I=5, H=8)
OTHER = Case("layer", "lstm", "fp32", T=3, B=2, I=5, H=8, passes="training")
FASTER = Decision("triton", "twice as fast", (0, -1), ours_ms=1.0, torch_ms=2.0, error=0.5, seconds=1.5)
SLOWER = Decision("aten", "half as fast", ours_ms=2.0, torch_ms=1.0, error=0.5, seconds=0.25)


@pytest.fixture
def measures(monkeypatch):
    """Has the measurement return a decision, or raise an error; returns the kinds that were measured."""
    asked = []

    def answer(found):
        def measure(kind, device, machine, deadline):
            asked.append(kind)
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(trial, "measure", measure)
        return asked

    return answer


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path, 10.0, True, time.monotonic(), {"auto": 1.0}, Worker(), dict(HERE))


def decide(folder, case=CASE, ratio=None, seconds=None):
    (row,) = decisions.decide(case, "cpu", folder, ratio, seconds)
    return row


@pytest.mark.parametrize(
    "case",
    [
        CASE,
        OTHER,
        Case("deep", "lstm", "fp16", T=5, B=3, I=5, H=8, L=2, D=2, passes="training"),
        Case("packed", "gru", "bf16", T=5, B=3, I=5, H=8, passes="training", input="packed"),
        Case("ids", "gru", "bf16", T=5, B=3, I=5, H=8, input="ids"),
        Case("layer", "gru_before", "bf16", T=9000, B=1, I=2, H=2),
    ],
    ids=lambda case: case.key,
)
def test_the_kind_of_a_case_is_that_of_its_call(case, monkeypatch):
    found = []
    monkeypatch.setattr(choose, "on_gpu", lambda call: True)
    monkeypatch.setattr(base, "run_directly", lambda *_: None)
    monkeypatch.setattr(settle, "settle", lambda kind, device: found.append(kind) or torchs("a test"))
    known.forget()
    decisions.call(case, torch.device("cpu"))
    known.forget()
    assert found == [decisions.kind_of(case)]


def test_the_goals_shapes_are_decided_once_each_for_both_passes_one_of_each_regime_in_turn():
    found = cases.decided(tiny=False)
    regimes = [{shape_of(layer) for layer in goal.layers} for goal in GOALS]
    shapes = [tuple(getattr(case, name) for name in SHAPE) for case in found]
    assert set(shapes) == set().union(*regimes)
    for passes in ("forward", "training"):
        mine = [shape for shape, case in zip(shapes, found, strict=True) if case.passes == passes]
        assert len(mine) == len(set(mine)) == len(set(shapes))
    assert all(any(shape in regime for shape in shapes[: len(GOALS)]) for regime in regimes)
    assert len({decisions.kind_of(case) for case in found}) == len(found)


def test_a_decision_is_a_row_that_is_kept_and_found_again(tmp_path):
    row = decide(tmp_path)
    assert (row["peer"], row["backend"], row["passes"]) == ("auto", "aten", "forward")
    assert row["kind"] == "gru float32 I=8 H=8 L=1 D=1 B=2 T=4 inference tf32"
    assert row["ratio"] == pytest.approx(row["torch_ms"] / row["ours_ms"])
    assert 0 < row["share"] < 1
    assert row["seconds"] > row["lookup_s"] > 0
    assert not {"error", "verdict", "record"} & set(row)
    (kept,) = tmp_path.glob("*.json")
    assert list(json.loads(kept.read_text())["decisions"]) == [row["kind"]]
    json.dumps(row, allow_nan=False)


def test_what_is_in_the_file_is_not_measured_again(tmp_path, measures):
    asked = measures(FASTER)
    first, again = decide(tmp_path), decide(tmp_path)
    assert len(asked) == 1
    assert first["rows"] == (0, -1)
    assert {**first, "lookup_s": 0} == {**again, "lookup_s": 0}


def test_a_file_that_says_something_else_later_is_an_error(tmp_path, measures, monkeypatch):
    measures(FASTER)
    forget = known.forget

    def changed():
        forget()
        for path in tmp_path.glob("*.json"):
            path.write_text(path.read_text().replace("twice as fast", "another"))

    monkeypatch.setattr(known, "forget", changed)
    row = decide(tmp_path)
    assert (row["verdict"], row["error"]) == ("failed", "expected the decision that was kept, got another: another")


@pytest.mark.parametrize(
    ("found", "ratio", "seconds", "expected"),
    [
        (FASTER, 3.0, 5e-4, ("gpu", 3.0, True)),
        (FASTER, 0.9, None, ("gpu", 0.9, False)),
        (SLOWER, 0.9, None, ("gpu", 0.9, True)),
        (FASTER, None, 3e-3, ("baseline", 3.0, True)),
        (FASTER, None, 5e-4, ("baseline", 0.5, False)),
        (FASTER, None, None, (None, None, None)),
        (torchs("the kernels are inexact"), 3.0, 5e-4, (None, None, None)),
    ],
)
def test_the_record_of_the_same_case_stands_beside_it(found, ratio, seconds, expected, tmp_path, measures):
    measures(found)
    row = decide(tmp_path, CASE, ratio, seconds)
    assert (row.get("record"), row.get("record_ratio"), row.get("agrees")) == pytest.approx(expected)
    assert "lookup_s" in row


def test_a_wrong_kernel_fails_and_nothing_is_measured_after_it(tmp_path, measures):
    asked = measures(WrongResultError("output: others"))
    with told_of_a_wrong_result():
        row = decide(tmp_path)
    assert (row["verdict"], row["error"]) == ("failed", "the kernels are wrong on this card: output: others")
    later = decide(tmp_path, OTHER)
    assert ("verdict" in later, later["error"]) == (False, row["error"])
    assert len(asked) == 1


def test_a_sweep_that_adds_one_is_found(tmp_path):
    with gate._spoiled(), told_of_a_wrong_result():
        row = decide(tmp_path)
    assert row["verdict"] == "failed"
    assert "the kernels are wrong on this card: " in row["error"]
    assert "lookup_s" not in row


def test_what_could_not_be_measured_is_an_error_and_no_failure(tmp_path, measures):
    measures(NotMeasuredError("no memory"))
    row = decide(tmp_path)
    assert ("verdict" in row, row["error"]) == (False, "not measured: no memory")


def test_the_settings_hold_for_the_job_alone(tmp_path, measures, monkeypatch):
    monkeypatch.setenv(settings.MODE_VARIABLE, "off")
    monkeypatch.setenv(settings.BUDGET_VARIABLE, "0")
    monkeypatch.delenv(settings.FOLDER_VARIABLE, raising=False)
    asked = measures(FASTER)
    assert decide(tmp_path)["backend"] == "triton"
    assert len(asked) == 1
    assert os.environ[settings.MODE_VARIABLE] == "off"
    assert settings.FOLDER_VARIABLE not in os.environ
    assert not known.by_kind


def test_the_jobs_are_given_what_the_records_know(session, monkeypatch):
    first, second, *_ = wanted = cases.decided(tiny=True)
    failed = [{"key": "gate", "subject": "the alone backward sweep of gru, tf32", "verdict": "failed"}]
    Record(HERE, failed).save(session.out / "gate.json")
    rows = [{"key": first.key, "peer": peer, "ratio": ratio} for peer, ratio in (("ours", 2.5), ("reference", 0.1))]
    Record(HERE, [*rows, {"key": second.key, "peer": "ours", "error": "no"}]).save(session.out / "gpu.json")
    Record(HERE, [{"key": case.key, "median_s": 0.5} for case in (first, second)]).save(session.out / "baseline.json")
    asked = []
    monkeypatch.setattr(Session, "work", lambda self, name, phase, jobs: asked.extend([(name, phase), *jobs]))
    phases.auto(session)
    about, *jobs = asked
    assert about == ("auto", "auto")
    assert [job.key for job in jobs] == [f"auto: {case.key}" for case in wanted]
    assert [job.arguments[3:] for job in jobs] == [(2.5, 0.5), (None, 0.5), (None, None)]
    assert {job.arguments[2] for job in jobs} == {session.out / DECISIONS}
    assert [job.instead is None for job in jobs] == [True, False, True]  # a training step runs the backward
    for job in jobs:
        assert [(row["key"], row["verdict"]) for row in job.unanswered] == [(job.key, "failed")]


def test_a_row_that_a_trial_may_take_counts_as_its_kernel(session, monkeypatch):
    """A form that failed is not tried beside the table's row either."""
    session.dry, session.environment = False, {**HERE, "capability": (9, 0), "multiprocessors": 132}
    failed = [{"key": "gate", "subject": "the shared forward sweep of lstm, 16-bit", "verdict": "failed"}]
    Record(session.environment, failed).save(session.out / "gate.json")
    asked = []
    monkeypatch.setattr(Session, "work", lambda self, name, phase, jobs: asked.extend(jobs))
    phases.auto(session)
    left_out = [job for job in asked if job.instead is not None]
    assert 0 < len(left_out) < len(asked)
    assert all("lstm" in job.key for job in left_out)


def test_the_phase_says_what_came_of_it_and_the_run_fails_with_a_wrong_kernel(session, monkeypatch, capsys):
    row = {"backend": "triton", "seconds": 2.0, "lookup_s": 1e-4}
    found = [
        {**row, "key": "a", "agrees": True}, {**row, "key": "b", "agrees": False}, {**row, "key": "c", "backend": "aten"},
        {"key": "d", "peer": "ours", "error": "left out"},
        {"key": "e", "backend": "aten", "seconds": 0.5, "verdict": "failed", "error": "wrong"},
    ]  # fmt: skip
    Record(HERE, found).save(session.out / "auto.json")
    expected = "3 decided, 2 for the kernels, 1 at odds with the record, 2 without a decision, 6.5 s of measuring"
    assert decisions.told(found) == expected
    monkeypatch.setattr(run, "PHASES", [])
    assert run.run(session) == 1
    assert "1 failed\ne\n" in capsys.readouterr().out
    Record(HERE, found[:-1]).save(session.out / "auto.json")
    assert run.run(session) == 0


def test_the_files_of_decisions_are_no_records(tmp_path, measures):
    measures(FASTER)
    row = decide(tmp_path / DECISIONS)
    Record(HERE, [row]).save(tmp_path / "auto.json")
    Record(HERE, []).save(tmp_path / "gpu.json")
    assert list(records(tmp_path)) == ["gpu.json"]
    assert load(tmp_path / "auto.json").rows[0]["rows"] == [0, -1]
