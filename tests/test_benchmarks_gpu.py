"""The GPU program, tried on a CPU: a hung or crashed case costs itself alone, and a second run does nothing twice."""

import os
import time
from dataclasses import replace

import pytest
import torch

from benchmarks import gpu, tuning
from benchmarks.cases import Case
from benchmarks.dropout import _wrong
from benchmarks.gpu import Session, order, work
from benchmarks.measure import Options, measure
from benchmarks.records import Record, RecordError, load
from benchmarks.tuning import Tune, candidates, variants
from benchmarks.worker import JobError, Worker
from fusedrnn.kernels.chips import CHIPS
from fusedrnn.kernels.table import choose

JOBS = "worker_jobs"


def job(key, function, *arguments):
    return (key, JOBS, function, arguments)


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path, 10.0, True, time.monotonic())


def test_worker_survives_errors_crashes_and_hangs():
    worker = Worker()
    assert worker.stop() is None
    number, first = worker.run(JOBS, "answer", (3,), 60)
    assert number == 3
    assert first != os.getpid()
    with pytest.raises(JobError, match=r"^RuntimeError: no such row$"):
        worker.run(JOBS, "fail", ("no such row",), 60)
    assert worker.run(JOBS, "answer", (1,), 60)[1] == first  # an exception does not cost the child
    with pytest.raises(JobError, match="process that died with exit code 7"):
        worker.run(JOBS, "crash", (7,), 60)
    started = time.monotonic()
    with pytest.raises(JobError, match="expected an answer within 1 s, got none: killed"):
        worker.run(JOBS, "hang", (600,), 1)
    assert time.monotonic() - started < 60
    assert worker.run(JOBS, "answer", (2,), 60)[0] == 2
    assert worker.stop() == 0


def test_a_failing_case_is_a_row_and_the_rest_goes_on(session, monkeypatch):
    monkeypatch.setattr(gpu, "LIMIT_S", 20.0)
    answers = {"a": [{"key": "a", "peer": "ours"}], "c": [{"key": "c", "peer": "ours"}]}

    def run(self, module, function, arguments, limit):
        if function not in answers:
            raise JobError("expected an answer, got a process that died")
        return answers[function]

    monkeypatch.setattr(Worker, "run", run)
    jobs = [("a", JOBS, "a", ()), ("b", JOBS, "b", ()), ("c", JOBS, "c", ())]
    assert work(session, "gpu", "cases", iter(jobs)) == 3
    rows = load(session.out / "gpu.json").rows
    assert [row["key"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["error"] == "expected an answer, got a process that died"
    assert work(session, "gpu", "cases", iter([*jobs, ("d", JOBS, "a", ())])) == 1  # what is done is not done again


def test_a_lost_cuda_context_gets_a_new_process(session, monkeypatch):
    stopped = []
    lost = [{"key": "a", "peer": "ours", "error": "AcceleratorError: CUDA error: an illegal memory access"}]
    monkeypatch.setattr(Worker, "run", lambda self, module, function, arguments, limit: lost)
    monkeypatch.setattr(Worker, "stop", lambda self, hung=False: stopped.append(1))
    work(session, "gpu", "cases", iter([("a", JOBS, "a", ())]))
    assert len(stopped) == 2  # after the row, and at the end


def test_a_phase_ends_with_its_share_of_the_time(tmp_path, capsys):
    over = Session(tmp_path, 10.0, True, time.monotonic() - 9.0 * 60)
    assert over.left("tests") < over.left("cases") < 0 < over.left("tuning") < 60
    assert work(over, "gpu", "cases", iter([job("a", "answer", 1)])) == 0
    assert "out of time; run again to go on" in capsys.readouterr().out


def test_a_record_of_another_device_or_commit_is_not_continued(session):
    record = session.record("gpu")
    Record({**record.environment, "device": "another"}, []).save(session.out / "gpu.json")
    with pytest.raises(RecordError, match="expected a record with device cpu to go on with, got another"):
        session.record("gpu")


def test_every_suite_has_a_case_among_the_first():
    cases = order(tiny=False)
    assert {case.suite for case in cases[:9]} == {case.suite for case in cases}
    assert "cpu" not in {case.suite for case in cases}
    assert len({case.key for case in cases}) == len(cases)
    assert len(order(tiny=True)) == 9


def test_hung_tests_are_killed_and_recorded(session, monkeypatch):
    monkeypatch.setattr(Session, "left", lambda self, phase: 0.0)
    monkeypatch.setattr(gpu, "LEAST_TEST_S", 0.3)
    assert gpu.tests(session) is False
    (row,) = load(session.out / "tests.json").rows
    assert row["exit"] == -1
    assert row["tail"].endswith("got none: killed")


@pytest.mark.parametrize(("H", "B"), [(512, 32), (1024, 64), (64, 16)])
@pytest.mark.parametrize("sweep", ["forward", "backward"])
def test_candidates_fit_the_chip_and_differ_from_the_table(sweep, H, B):
    chip, tune = CHIPS[9, 0], Tune(sweep, "lstm", "bf16", 256, B, H)
    base = choose(sweep, "lstm", torch.bfloat16, H, B, 1, (9, 0), chip.multiprocessors)
    found = candidates(chip, tune, base, 8)
    assert len(found) == len(set(found)) == 8
    assert base not in found
    for row in found:
        assert -(-H // row.block_u) <= chip.multiprocessors
        if row.resident:
            assert row.block_k * row.chunks * getattr(row, "split", 1) >= H
            assert 4 * row.block_u * H * 2 <= chip.shared_bytes
    assert len(list(variants(base, H))) > 20
    assert len({tune.key for tune in tuning.shapes()}) == len(tuning.shapes())


def tuned(monkeypatch, ratio):
    monkeypatch.setattr(tuning, "ratio_columns", lambda *_: {"ratio": ratio, "ratio_p20": ratio, "ratio_p80": ratio})
    return tuning.tune_shape(Tune("forward", "gru", "fp32", 1, 2, 5), "cpu", 2, 1, 0)


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
    monkeypatch.setattr("benchmarks.dropout.ours_backend", lambda device: "aten")
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


def test_the_dry_run_goes_through_every_phase_and_a_second_one_has_nothing_to_do(tmp_path, capsys):
    """Everything but the GPU itself: tests, a case of each suite in a child, tuning, records, plots; then the resumption."""
    pytest.importorskip("triton")
    options = ["--dry-run", "--minutes", "30", "--out", str(tmp_path)]
    assert gpu.main(options) == 0, capsys.readouterr().out
    first = capsys.readouterr().out
    assert "9 cases, 2 shapes tuned" in first
    rows = load(tmp_path / "gpu.json").rows
    assert {row["suite"] for row in rows} == {case.suite for case in order(tiny=True)}
    assert [row for row in rows if "error" in row] == []
    assert {row["peer"] for row in rows if row["suite"] == "layer"} == {"torch.nn", "ours", "reference"}
    assert all(row["backend"] == "triton" for row in rows if row["suite"] == "layer")
    assert load(tmp_path / "tests.json").rows[0]["passed"] is True
    assert [row for row in load(tmp_path / "tuning.json").rows if "error" in row] == []
    assert (tmp_path / "gpu.png").exists()
    before = (tmp_path / "gpu.json").read_bytes()
    assert gpu.main(options) == 0
    assert "0 cases, 0 shapes tuned" in capsys.readouterr().out
    assert (tmp_path / "gpu.json").read_bytes() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal is that of a machine without a GPU")
def test_without_a_gpu_it_says_so_in_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(tmp_path)])
    assert "expected a CUDA device, got none (--dry-run tries the program on a CPU)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--minutes", "0"])
    assert "--minutes: expected more than 0, got 0" in capsys.readouterr().err
