"""A run on a GPU, its parts tried on a CPU: a hung or crashed case costs itself alone, and a second run does nothing twice."""

import os
import time
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.gpu import cases, conditions, gate, jobs, phases, plan, run, session, tuning
from benchmarks.gpu.phases import PHASES, SHARES
from benchmarks.gpu.session import Job, Session
from benchmarks.gpu.tuning import Tune, candidates, variants
from benchmarks.gpu.worker import JobError, Worker
from benchmarks.measuring.cases import Case
from benchmarks.measuring.dropout import _wrong
from benchmarks.measuring.goals import GOALS, SHAPE, shape_of
from benchmarks.measuring.measure import Options, measure
from benchmarks.measuring.records import Record, RecordError, load
from benchmarks.measuring.suites import SUITES
from fusedrnn.backends.chips import CHIPS
from fusedrnn.kernels.rows import ROOM, registers, shared_bytes, slices
from fusedrnn.kernels.table import choose

JOBS = "worker_jobs"
READY = ("benchmarks.gpu.jobs", "ready", ("cpu",))
HERE = {"device": "cpu", "sources": "abc", "torch": "2", "triton": "3", "interpreted": True}
ANSWERS, CRASHES, HANGS, FAILS = (
    (JOBS, name, (value,)) for name, value in (("answer", 1), ("crash", 7), ("hang", 600), ("fail", "no"))
)


@pytest.fixture
def a_session(tmp_path):
    made = Session(tmp_path, 10.0, True, time.monotonic(), {"now": 1.0, "over": 0.0}, Worker(READY), dict(HERE))
    made.worker.start()
    yield made
    made.worker.stop()


def rows(name, *more):
    return Job(name, JOBS, "rows", (name, *more))


def test_worker_survives_errors_crashes_and_hangs():
    worker = Worker()
    assert worker.stop() is None
    assert worker.pid is None
    number, first = worker.run(JOBS, "answer", (3,), 60)
    assert number == 3
    assert first == worker.pid != os.getpid()
    with pytest.raises(JobError, match=r"^RuntimeError: no such row$") as error:
        worker.run(JOBS, "fail", ("no such row",), 60)
    assert not error.value.late
    assert worker.run(JOBS, "answer", (1,), 60)[1] == first  # an exception does not cost the child
    with pytest.raises(JobError, match="process that died with exit code 7"):
        worker.run(JOBS, "crash", (7,), 60)
    started = time.monotonic()
    with pytest.raises(JobError, match="expected an answer within 1 s, got none: killed") as error:
        worker.run(JOBS, "hang", (600,), 1)
    assert error.value.late
    assert time.monotonic() - started < 60
    assert worker.run(JOBS, "answer", (2,), 60)[0] == 2
    assert worker.stop() == 0


def test_a_new_child_does_what_comes_first_and_that_is_not_counted_as_the_jobs_time():
    worker = Worker((JOBS, "slow_start", (1.5,)))
    assert worker.run(JOBS, "started", (), 1.0) == 1.5
    worker.stop()
    worker = Worker((JOBS, "fail", ("no device",)))
    with pytest.raises(JobError, match="RuntimeError: no device"):
        worker.run(JOBS, "answer", (1,), 60)
    worker, begun = Worker((JOBS, "hang", (600,))), time.monotonic()
    with pytest.raises(JobError, match=r"^no process for it: .* got none: killed") as error:
        worker.run(JOBS, "answer", (1,), 60, total_s=1.0)
    assert time.monotonic() - begun < 30
    assert (error.value.late, error.value.lost) == (True, False)


def test_a_failing_case_is_a_row_and_the_rest_goes_on(a_session, monkeypatch):
    monkeypatch.setattr(session, "LIMIT_S", 1.0)
    wanted = [
        rows("a"),
        Job("b", *CRASHES),
        Job("c", *HANGS),
        Job("d", *FAILS),
        rows("e"),
        Job("f", *ANSWERS, instead="left out: f"),
    ]
    assert a_session.work("gpu", "now", wanted) == 6
    found = {row["key"]: row for row in load(a_session.out / "gpu.json").rows}
    assert list(found) == ["a", "b", "c", "d", "e", "f"]
    assert found["b"]["error"] == "expected an answer, got a process that died with exit code 7"
    assert found["c"]["error"] == "expected an answer within 1 s, got none: killed"
    assert found["d"]["error"] == "RuntimeError: no"
    assert found["f"]["error"] == "left out: f"
    assert found["e"]["median_s"] == 1.0
    assert 0 <= found["e"]["wall_s"] < 1
    assert a_session.work("gpu", "now", [*wanted, rows("g")]) == 1  # what is done is not done again


def test_a_job_that_hangs_or_ends_its_process_leaves_the_rows_it_says_and_one_that_raises_does_not(
    a_session, monkeypatch
):
    monkeypatch.setattr(session, "LIMIT_S", 1.0)
    told = [{"key": "a", "peer": "ours", "subject": "a form", "verdict": "failed"}]
    wanted = (Job(key, *what, unanswered=told) for key, what in (("a", CRASHES), ("b", HANGS), ("c", FAILS)))
    a_session.work("gate", "now", wanted)
    found = a_session.rows("gate")
    assert [row.get("verdict") for row in found] == ["failed", "failed", None]
    assert "exit code 7" in found[0]["error"]
    assert "within 1 s" in found[1]["error"]
    assert found[2]["peer"] == "all"  # it may be torch's own result that raised


def test_a_process_that_does_not_come_up_is_not_the_jobs_fault(a_session):
    a_session.worker.stop()
    a_session.worker = Worker((JOBS, "crash", (3,)))
    job = Job("a", JOBS, "rows", ("a",), unanswered=[{"key": "a", "verdict": "failed"}])
    a_session.work("gate", "now", [job])
    (row,) = a_session.rows("gate")
    assert row["error"] == "no process for it: expected an answer, got a process that died with exit code 3"
    assert "verdict" not in row


@pytest.fixture
def late():
    """A launch that is known to have failed: the next launch would raise its error."""
    from fusedrnn.kernels import launch

    word = launch.error_word(torch.device("cpu"))
    yield lambda: word.fill_(10**6)
    word.zero_()


def test_a_late_time_out_of_a_sweep_is_the_jobs_that_launched_it_and_no_other(late):
    late()
    (row,) = jobs.counted(JOBS, "rows", ("a",))
    assert row["error"].startswith("SweepTimeoutError: launch 1000000: expected every program to arrive")
    assert row["median_s"] == 1.0  # what was measured stays
    assert "error" not in jobs.counted(JOBS, "rows", ("a",))[0]
    late()
    assert jobs.counted(JOBS, "rows", ("a", "wrong result"))[0]["error"] == "wrong result"
    assert "error" not in jobs.counted(JOBS, "rows", ("a",))[0]
    late()
    with pytest.raises(RuntimeError, match="no such row"):
        jobs.counted(JOBS, "fail", ("no such row",))
    assert "error" not in jobs.counted(JOBS, "rows", ("a",))[0]


def test_a_late_time_out_is_not_torchs(late):
    late()
    (row,) = jobs.counted(__name__, "torchs_row", ())
    assert "error" not in row


def torchs_row():
    return [{"key": "a", "peer": "torch.nn", "median_s": 1.0}]


def test_a_variant_whose_launch_times_out_late_is_told_so_and_the_next_is_not(late, monkeypatch):
    right, runs = tuning.problem, []

    def failing(tune, device):
        run = right(tune, device)

        def call(row):
            runs.append(row)
            if len(runs) == 2:  # the first is the table's
                late()
            return run(row)

        return call

    from fusedrnn.kernels import launch

    check = launch.check
    monkeypatch.setattr(launch, "check", lambda device: None)  # a GPU's launch does not know yet
    monkeypatch.setattr(tuning, "problem", failing)

    monkeypatch.setattr(tuning, "wait", check)
    found = tuning.tune_shape(Tune("forward", "gru", "fp32", 1, 2, 5), "cpu", 2, 1, 0)
    assert [row["peer"] for row in found] == ["variant", "table", "variant"]
    assert "SweepTimeoutError" in found[0]["error"]


def test_every_check_of_the_gate_says_what_it_condemns(a_session, monkeypatch):
    asked = []
    monkeypatch.setattr(Session, "work", lambda self, name, phase, wanted: asked.extend(wanted) or 0)
    phases.gated(a_session)
    assert len(asked) == len(phases.DRY_CHECKS) + len(conditions.CONDITIONS)
    for job in asked:
        assert {(row["key"], row["verdict"]) for row in job.unanswered} == {(job.key, "failed")}
    hung = [row for job in asked for row in job.unanswered if "lstm fp32 alone" in job.key]
    assert gate.failures(hung) == {f"the alone {sweep} sweep of lstm, tf32" for sweep in gate.SWEEPS}


def test_each_row_is_written_as_soon_as_it_is_there(a_session):
    def checked():
        yield rows("a")
        assert [row["key"] for row in load(a_session.out / "gpu.json").rows] == ["a"]
        yield rows("b")

    assert a_session.work("gpu", "now", checked()) == 2


def test_a_job_without_rows(a_session):
    a_session.work("gpu", "now", [Job("a", JOBS, "rows", ()), rows("b")])
    assert load(a_session.out / "gpu.json").rows[0]["error"] == "expected rows, got none"
    assert a_session.worker.pid is not None


def pids_around(a_session, error):
    """Of the worker before and after a job with an error."""
    a_session.work("gpu", "now", [rows("a")])
    first = a_session.worker.pid
    a_session.work("gpu", "now", [rows("b", error)])
    return first, a_session.worker.pid


@pytest.mark.parametrize("error", ["Triton Error [CUDA]: invalid argument", "CUDA out of memory", "expected 3, got 4"])
def test_after_an_error_a_process_that_can_go_on_does(error, a_session):
    first, then = pids_around(a_session, error)
    assert first == then is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device that cannot be used is wanted")
@pytest.mark.parametrize(
    ("error", "replaced"),
    [
        ("AcceleratorError: CUDA error: an illegal memory access was encountered", True),
        ("RuntimeError: Triton Error [CUDA]: an illegal memory access was encountered", True),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True),
        ("wrong result", False),
    ],
)
def test_after_a_lost_context_the_next_job_gets_a_new_process(error, replaced, a_session):
    a_session.dry = False  # the worker has no CUDA device to show that it is alive
    first, then = pids_around(a_session, error)
    assert first is not None
    assert (then is None) is replaced
    a_session.work("gpu", "now", [rows("c")])
    assert (a_session.worker.pid != first) is replaced


def test_a_phase_ends_in_time_and_what_it_cut_off_is_tried_again(a_session, capsys):
    assert a_session.work("gpu", "over", [rows("a")]) == 0
    assert "over: out of time; run again to go on" in capsys.readouterr().out
    a_session.started, a_session.shares["short"] = time.monotonic(), 1.5 / 600
    a_session.worker.start()
    begun = time.monotonic()
    assert a_session.work("gpu", "short", [rows("a"), Job("b", *HANGS), rows("c")]) == 1
    assert time.monotonic() - begun < 10  # and not only after the limit of a case
    assert "short: out of time in b; run again to go on" in capsys.readouterr().out
    assert [row["key"] for row in a_session.rows("gpu")] == ["a"]
    assert a_session.left("short") < 0 < a_session.left("now")


def test_a_record_of_another_device_or_of_other_code_is_not_continued(a_session):
    for what in ("device", "sources", "torch", "triton"):
        for name in ("gpu", "baseline"):
            Record({**HERE, what: "another"}, [{"key": "b"}]).save(a_session.out / f"{name}.json")
        if what == "sources":
            assert a_session.record("baseline").rows == [{"key": "b"}]  # torch.nn's times are not of our sources
        else:
            with pytest.raises(RecordError, match=f"expected a record with {what}"):
                a_session.record("baseline")
        with pytest.raises(RecordError, match=f"expected a record with {what} {HERE[what]} to go on with, got another"):
            a_session.record("gpu")
    Record({**HERE, "date": "another"}, [{"key": "a"}]).save(a_session.out / "gpu.json")
    assert a_session.record("gpu").rows == [{"key": "a"}]
    assert a_session.rows("none") == []


def test_kernels_that_a_job_had_to_compile_are_counted(monkeypatch):
    monkeypatch.setattr(jobs, "_compiled", ["of an earlier job"])
    assert jobs.counted(JOBS, "rows", ("a",)) == [
        {"key": "a", "peer": "ours", "median_s": 1.0, "p20_s": 1.0, "p80_s": 1.0}
    ]
    assert [row["compiled"] for row in jobs.counted(__name__, "compiling_two", ())] == [2]


def compiling_two():
    jobs._compiled.extend(["forward_sweep", "backward_sweep"])
    return [{"key": "a"}]


def test_the_goals_shapes_come_first_one_of_each_regime_in_turn():
    found = cases.timed(tiny=False)
    regimes = [{shape_of(layer) for layer in goal.layers} for goal in GOALS]
    first = [tuple(getattr(case, name) for name in SHAPE) for case in found[: len(GOALS)]]
    assert all(sum(shape in regime for shape in first) >= 1 for regime in regimes)
    measured = {tuple(getattr(case, name) for name in SHAPE) for case in cases.of_goals()}
    assert measured == set().union(*regimes)  # every shape of every goal
    assert found[: len(cases.of_goals())] == cases.of_goals()
    assert len({case.key for case in found}) == len(found)
    assert {case.suite for case in cases.every(tiny=False)} == set(SUITES) - set(cases.NOT_HERE)
    assert {case.suite for case in cases.every(tiny=True)} == set(SUITES) - set(cases.NOT_HERE)


def test_a_baseline_is_of_cases_that_torch_has():
    found = cases.baselines(tiny=False)
    assert {case.quantity for case in found} == {"time"}
    assert "gru_before" not in {case.cell for case in found}
    assert found[: len(cases.of_goals())] == cases.of_goals()
    (row,) = jobs.baseline(Case("layer", "gru", "fp32", T=3, B=2, I=4, H=5, passes="training"), "cpu", True)
    assert (row["peer"], row["samples"]) == ("torch.nn", 1)
    assert row["median_s"] > 0


def test_the_kernels_of_every_kind_of_baseline_are_named_once():
    wanted = cases.baselines(tiny=False)
    found = cases.profiled(wanted)
    assert {case.passes for case in found} == {"training"}
    assert 30 < len(found) < 80

    def kinds(some, *names):
        return {tuple(getattr(case, name) for name in names) for case in some}

    names = ("cell", "dtype", "H", "L", "D", "input")
    assert kinds(found, *names) == kinds(wanted, *names)
    half = kinds([case for case in found if case.dtype == "fp16" and case.H == 512], "B")
    assert len(half) == 2
    assert {B % 8 == 0 for (B,) in half} == {True, False} or {B <= 128 for (B,) in half} == {True, False}


def test_slow_cases_are_measured_in_fewer_rounds():
    assert [jobs.rounds_for(seconds) for seconds in (1e-6, 0.3 / 10.5, 1.0)] == [jobs.MOST, 10, jobs.FEWEST]


def test_the_phases_are_in_the_order_that_a_single_run_needs():
    names = [phase.name for phase in PHASES]
    assert names == [
        "compile", "gate", "baseline", "ours", "auto", "steps", "dropout", "memory", "tuning", "options", "plots",
        "profile", "breadth",
    ]  # fmt: skip
    assert sorted(SHARES.values()) == list(SHARES.values())
    assert SHARES["breadth"] < 1
    assert 8 * 60 * (SHARES["gate"] - SHARES["compile"]) == pytest.approx(60)


def test_a_phase_that_raises_costs_itself_and_a_record_of_another_run_everything(a_session, monkeypatch, capsys):
    ran = []

    def broken(session):
        raise TypeError("no such thing")

    def refused(session):
        raise RecordError("another run's")

    def phase_of(name, what):
        return phases.Phase(name, 1.0, what)

    a_session.shares = {"a": 1.0, "b": 1.0}
    monkeypatch.setattr(run, "PHASES", [phase_of("a", broken), phase_of("b", lambda _: ran.append("b") or "done")])
    assert run.run(a_session) == 0
    assert ran == ["b"]
    assert "a: not done: TypeError: no such thing" in capsys.readouterr().out
    monkeypatch.setattr(run, "PHASES", [phase_of("a", refused), phase_of("b", lambda _: ran.append("b") or "done")])
    with pytest.raises(RecordError, match="another run's"):
        run.run(a_session)
    assert ran == ["b"]


def test_what_failed_the_gate_is_not_run(a_session, monkeypatch):
    asked = []
    monkeypatch.setattr(Session, "work", lambda self, name, phase, wanted: asked.extend(wanted) or 0)
    gate_rows = [{"key": "gate", "subject": "the alone forward sweep of gru, tf32", "verdict": "failed"}]
    Record(HERE, gate_rows).save(a_session.out / "gate.json")
    for phase in (phases.ours, phases.time_steps, phases.tune, phases.memory, phases.try_options, phases.profile):
        phase(a_session)
    left_out = {job.key for job in asked if job.instead}
    assert all(job.instead is None for job in asked if "lstm" in job.key)
    assert any(key.startswith("layer: time of gru") for key in left_out)
    assert any(key.startswith("step: backward of gru") for key in left_out)
    assert any(key.startswith("memory: memory of gru") for key in left_out)
    assert any(key.startswith("option: layer_norm of gru") for key in left_out)
    assert any(key.startswith("profile: launches: launches of gru") for key in left_out)
    assert not any(key.startswith("profile: layer") for key in left_out)  # torch.nn's
    assert not any(key.startswith("packed") for key in left_out)  # its kernels are others


def test_the_plan_fits_what_it_plans_for():
    lines = plan.table(8.0).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == [phase.name for phase in PHASES]
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")] for line in lines}
    for name in ("compile", "gate", "steps", "dropout", "memory", "tuning", "options", "plots", "profile"):
        assert float(cells[name][6]) <= float(cells[name][3]), cells[name]  # all of it within its budget
    assert int(cells["compile"][5]) > 300


@pytest.mark.parametrize(("H", "B"), [(512, 32), (1024, 64), (64, 16)])
@pytest.mark.parametrize("sweep", ["forward", "backward"])
def test_candidates_fit_the_chip_and_differ_from_the_table(sweep, H, B):
    chip, tune = CHIPS[9, 0], Tune(sweep, "lstm", "bf16", 256, B, H)
    base = choose(sweep, "lstm", torch.bfloat16, H, B, 1, (9, 0), chip.multiprocessors)
    found = candidates(chip, tune, base, 8)
    assert 3 <= len(found) == len(set(found)) <= 8
    assert base not in found
    for row in found:
        assert slices(row, H) <= chip.multiprocessors
        assert shared_bytes(row, "lstm", 2) <= chip.shared_bytes
        assert row.depth * row.chunks * row.warps >= H
        assert registers(row, sweep, "lstm") <= ROOM
        assert 4 * row.chunks <= tuning.UNROLLED
    assert len(list(variants(base, H))) > 20
    assert len({tune.key for tune in tuning.shapes()}) == len(tuning.shapes())


def tuned(monkeypatch, ratio):
    monkeypatch.setattr(tuning, "ratio_columns", lambda *_: {"ratio": ratio, "ratio_p20": ratio, "ratio_p80": ratio})
    return tuning.tune_shape(Tune("forward", "gru", "fp32", 1, 2, 5), "cpu", 2, 1, 0)


def test_variants_of_a_form_that_failed_are_not_tried():
    chip, tune = CHIPS[9, 0], Tune("forward", "lstm", "fp32", 256, 16, 64)
    base = choose("forward", "lstm", torch.float32, 64, 16, 1, (9, 0), chip.multiprocessors)
    assert candidates(chip, tune, base, 8, frozenset({"shared"}))
    assert not candidates(chip, tune, base, 8, frozenset({"registers"}))


def test_a_faster_variant_is_proposed_once_and_a_slower_one_not(monkeypatch):
    pytest.importorskip("triton")
    rows = tuned(monkeypatch, 1.5)
    assert [row["peer"] for row in rows] == ["table", "variant", "variant"]
    assert [row.get("proposed") for row in rows] == [None, True, False]
    assert not any(row.get("proposed") for row in tuned(monkeypatch, 1.02))


def test_a_variant_with_wrong_results_is_not_timed(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(tuning, "error", lambda got, expected: float("nan"))
    (row,) = tuning.tune_shape(Tune("forward", "gru", "fp32", 1, 2, 5), "cpu", 1, 1, 0)
    assert row["error"].startswith("wrong result: expected the table's row's, got a relative error of nan")


DROPOUT = Case("dropout", "dropout", "fp32", T=8, B=16, I=0, H=64, passes="training", quantity="dropout")


@pytest.mark.parametrize("function", ["dropout", "bias_relu_dropout"])
def test_dropout_is_held_to_its_definition_and_to_a_copy(function, monkeypatch):
    monkeypatch.setattr("benchmarks.measuring.dropout.ours_backend", lambda device: "aten")
    rows = measure(replace(DROPOUT, cell=function), torch.device("cpu"), Options(2, 0))
    assert [row["peer"] for row in rows] == ["torch.nn", "ours", "copy"]
    assert all(0 < row["copy_share"] < 2 for row in rows[:2])
    assert "ratio" in rows[1]


def test_what_is_no_dropout_is_noticed():
    x, bias = torch.randn(8, 16, 64), torch.zeros(64)
    mask = torch.rand_like(x) < 0.5
    assert _wrong(DROPOUT, 2 * x * mask, x, bias) is None
    assert _wrong(DROPOUT, x * mask, x, bias) == "wrong result: expected kept values to be doubled"
    assert "expected half of the values kept, got 1.000" in _wrong(DROPOUT, 2 * x, x, bias)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal is that of a machine without a GPU")
def test_what_cannot_be_done_is_said_in_one_line(capsys, tmp_path):
    for arguments, message in (
        (["--out", str(tmp_path)], "expected a CUDA device, got none (--dry-run tries the program on a CPU)"),
        (["--minutes", "0"], "--minutes: expected more than 0, got 0"),
        (["--spoil", "gru/registers"], "--spoil: expected a --dry-run, got a real one"),
    ):
        with pytest.raises(SystemExit):
            run.main(arguments)
        assert message in capsys.readouterr().err
