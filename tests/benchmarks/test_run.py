"""A suite leaves a record: a row a peer, the environment, an error in place of what could not be measured."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest
import torch

from benchmarks.measuring import footprint, peers, run, speed
from benchmarks.measuring import measure as measuring
from benchmarks.measuring.cases import Case
from benchmarks.measuring.footprint import saved_bytes
from benchmarks.measuring.measure import Options, measure
from benchmarks.measuring.records import Record, RecordError, load
from benchmarks.measuring.suites import SUITES, suite

CPU = torch.device("cpu")
QUICK = Options(rounds=3, warmup=0)
CASE = Case("cpu", "lstm", "fp32", T=5, B=3, I=4, H=6, passes="training")


@pytest.fixture(autouse=True)
def without_kernels(monkeypatch):
    """Ours is what "auto" chooses on a CPU, which takes milliseconds; the interpreter would take seconds."""
    for module in (peers, footprint):
        monkeypatch.setattr(module, "ours_backend", lambda device: "auto")


def test_every_case_has_its_own_name():
    keys = [case.key for name in SUITES for case in suite(name)]
    assert len(keys) == len(set(keys))
    assert len(keys) > 400


@pytest.mark.parametrize("name", SUITES)
def test_tiny_cases_are_few_and_small(name):
    cases = suite(name, tiny=True)
    assert 1 <= len(cases) <= 4
    assert all(case.T <= 3 and case.H <= 8 and case.dtype == "fp32" for case in cases)


@pytest.mark.parametrize("kind", ["dense", "ids", "packed"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_rows_hold_every_peer_with_its_spread_and_ratio(cell, kind):
    rows = measure(dataclasses.replace(CASE, cell=cell, input=kind), CPU, QUICK)
    assert [row["peer"] for row in rows] == ["torch.nn", "ours", "reference"]
    for row in rows:
        assert row["p20_s"] <= row["median_s"] <= row["p80_s"]
        assert row["samples"] == 3
        assert row["key"].startswith("cpu: time of ")
        assert ("ratio" in row) == (row["peer"] != "torch.nn")
    reference = rows[2]
    assert reference["ratio_p20"] <= reference["ratio"] <= reference["ratio_p80"]
    assert reference["ratio"] == pytest.approx(rows[0]["median_s"] / reference["median_s"], rel=0.7)


def test_a_cell_that_torch_lacks_has_no_ratio():
    rows = measure(dataclasses.replace(CASE, cell="gru_before"), CPU, QUICK)
    assert [row["peer"] for row in rows] == ["ours", "reference"]
    assert not any("ratio" in row for row in rows)


def test_a_wrong_kernel_of_such_a_cell_is_found_by_the_reference(monkeypatch):
    case = dataclasses.replace(CASE, cell="gru_before", passes="forward")
    monkeypatch.setattr(measuring, "peers", lambda *_, **__: {
        name: dataclasses.replace(peer, results=lambda n=name, p=peer: [r * (2 if n == "ours" else 1) for r in p.results()])
        for name, peer in peers.peers(case, CPU).items()
    })  # fmt: skip
    rows = measure(case, CPU, QUICK)
    assert {row["peer"]: "error" in row for row in rows} == {"ours": True, "reference": False}


def test_the_compiled_reference_is_a_peer_on_request(monkeypatch):
    """With dynamo's eager backend, for the compiler itself takes half a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    case = dataclasses.replace(CASE, T=2)
    rows = measure(case, CPU, Options(2, 0, compiled=True))
    assert [row["peer"] for row in rows] == ["torch.nn", "ours", "reference", "compiled reference"]
    assert all(row["median_s"] > 0 for row in rows)
    long = dataclasses.replace(CASE, T=peers.COMPILED_STEPS + 1)
    assert "compiled reference" not in peers.peers(long, CPU, compiled=True)


def test_without_the_reference_only_the_two_are_timed():
    assert [row["peer"] for row in measure(CASE, CPU, Options(2, 0, reference=False))] == ["torch.nn", "ours"]


def test_a_wrong_result_has_no_speed(monkeypatch):
    original = peers._peer

    def wrong(case, module, arguments, upstream):
        peer = original(case, module, arguments, upstream)
        if getattr(module, "backend", None) == "auto":
            return dataclasses.replace(peer, results=lambda: [r * 1.01 for r in peer.results()])
        return peer

    monkeypatch.setattr(peers, "_peer", wrong)
    rows = measure(CASE, CPU, QUICK)
    (row,) = [row for row in rows if row["peer"] == "ours"]
    assert row["error"].startswith("wrong result: expected a relative error up to 0.002, got 0.01")
    assert "median_s" not in row


def test_nan_is_a_wrong_result():
    assert not peers.error([torch.tensor([float("nan")])], [torch.ones(1)]) <= 1.0
    assert not peers.error([torch.tensor([1.0]), torch.tensor([float("nan")])], [torch.ones(1)] * 2) <= 1.0


def test_a_failing_peer_or_case_becomes_a_row_and_not_an_exception(monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("out of everything")

    monkeypatch.setattr(peers.FusedLSTM, "forward", failing)
    rows = measure(CASE, CPU, QUICK)
    assert [row["peer"] for row in rows if "error" not in row] == ["torch.nn"]
    monkeypatch.setattr(measuring, "peers", failing)
    (row,) = measure(CASE, CPU, QUICK)
    assert row["error"].startswith("RuntimeError: out of everything")
    assert row["key"] == CASE.key


def test_lengths_fall_from_the_longest():
    case = dataclasses.replace(CASE, T=500, B=32)
    found = peers.lengths(case)
    assert found[0] == 500
    assert found.min() >= 1
    assert torch.equal(found, found.sort(descending=True).values)
    assert 100 < found.float().mean() < 400  # or packing would not matter


def test_saved_bytes_are_those_of_the_tape():
    """x * w, then tanh: autograd keeps x and w, which were given, and tanh's output."""
    w = torch.ones(10, requires_grad=True)
    x = torch.ones(7, 10)

    def step():
        (x * w).tanh().sum().backward()

    assert saved_bytes(peers.Peer(step, list, (w, x), torch.nn.Identity())) == 7 * 10 * 4
    assert saved_bytes(peers.Peer(step, list, (w,), torch.nn.Identity())) == 2 * 7 * 10 * 4


def test_recomputing_gates_saves_less_than_keeping_them(monkeypatch):
    pytest.importorskip("triton")
    for module in (peers, footprint):
        monkeypatch.setattr(module, "ours_backend", lambda device: "triton")
    rows = measure(dataclasses.replace(CASE, T=3, quantity="memory"), CPU, QUICK)
    saved = {row["peer"]: row["saved_bytes"] for row in rows}
    assert list(saved) == ["torch.nn", "ours", "ours, recompute"]
    assert saved["ours"] - saved["ours, recompute"] == 3 * 3 * 4 * 6 * 4  # T B gates H bytes


@pytest.mark.parametrize("quantity", ["memory", "launches"])
def test_footprints_name_their_peers(quantity):
    rows = measure(dataclasses.replace(CASE, quantity=quantity), CPU, QUICK)
    assert [row["peer"] for row in rows] == ["torch.nn", "ours"]
    assert all(row.get("saved_bytes", row.get("host_s")) > 0 for row in rows)


def test_lyrics_reports_characters_a_second_of_the_same_training(monkeypatch):
    monkeypatch.setattr("benchmarks.measuring.lyrics.ours_backend", lambda device: "auto")
    case = Case("lyrics", "gru", "fp32", T=3, B=2, I=0, H=8, passes="training", input="ids", quantity="lyrics")
    rows = measure(case, CPU, QUICK)
    assert [row["peer"] for row in rows] == ["torch.nn", "ours", "reference"]
    assert all(row["characters_per_s"] * row["median_s"] == pytest.approx(18, abs=4) for row in rows)
    assert rows[1]["perplexity"] == pytest.approx(rows[0]["perplexity"], rel=1e-4)


def test_the_program_writes_a_record_with_its_environment(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "suite", lambda name, tiny: [CASE, dataclasses.replace(CASE, cell="gru")])
    path = tmp_path / "deep" / "cpu.json"
    assert run.main(["--suite", "cpu", "--device", "cpu", "--json", str(path), "--rounds", "2", "--warmup", "0"]) == 0
    record = load(path)
    assert len(record.rows) == 6
    for name in ("commit", "torch", "triton", "python", "device", "threads", "cudnn", "date"):
        assert name in record.environment
    assert "torch.nn / this" in capsys.readouterr().out


def test_the_program_fails_where_a_peer_failed_and_refuses_what_cannot_be(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "measure", lambda *_: [{"peer": "ours", "error": "no"}])
    path = str(tmp_path / "r.json")
    assert run.main(["--suite", "cpu", "--tiny", "--device", "cpu", "--json", path]) == 1
    with pytest.raises(SystemExit):
        run.main(["--suite", "cpu", "--device", "cpu", "--json", path, "--rounds", "0"])
    assert "--rounds, --warmup: expected at least 1 and 0, got 0 and 3" in capsys.readouterr().err


JUDGED = {
    "peer": "ours", "verdict": "passed", "sweep": "forward", "tensor": "h_n", "share": 0.25, "relative_error": 1e-3,
}  # fmt: skip
WRONG = {
    **JUDGED, "verdict": "failed", "tensor": "output", "share": "inf", "worst_element": [2, 0, 1], "expected": 0.5, "got": "nan",
    "not_finite": 1, "first_step": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (JUDGED, "forward passed: h_n at 0.25 times the error allowed"),
        (
            WRONG,
            "forward failed: output at inf times the error allowed; worst at [2, 0, 1]: expected 0.5, got nan; first wrong step 2",
        ),
        ({"peer": "ours", "verdict": "passed"}, "passed"),
        ({"peer": "ours", "error": "no", "verdict": "failed", "sweep": "backward"}, "backward failed: no"),
        ({"peer": "ours", "error": "no"}, "error: no"),
        ({"peer": "ours", "us_a_step": 2.5, "predicted_us": 2.0}, "2.500 us a step, predicted 2.000"),
        ({"peer": "ours", "us_a_step": 2.5}, "2.500 us a step"),
        ({"peer": "ours", "cycles": 700.0}, "cycles 700"),
        (
            {"peer": "ours", "ratio": 2.0, "backend": "triton", "reason": "faster", "agrees": False, "lookup_s": 0.5},
            "torch.nn / this 2.000, triton: faster, agrees 0, lookup_s 0.5",
        ),
    ],
)
def test_a_row_is_said_in_one_line(row, said):
    assert run.say(row) == f"  {'ours':20} {said}"


def half_written(path, text, **options):
    path.write_bytes(text.encode()[: len(text) // 2])
    raise OSError("disk full")


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    Record({"a": 1}, [{"key": "k"}]).save(path)
    assert json.loads(path.read_text()) == {"environment": {"a": 1}, "rows": [{"key": "k"}]}
    broken = Record({"a": 2}, [{"key": object()}])
    with pytest.raises(TypeError):
        broken.save(path)
    assert load(path).environment == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]
    with monkeypatch.context() as half:
        half.setattr(Path, "write_text", half_written)
        with pytest.raises(OSError, match="disk full"):
            Record({"a": 3}, []).save(path)
    assert load(path).environment == {"a": 1}
    Record({}, []).save(path)
    assert load(path).rows == []


def test_a_row_that_changes_and_rows_that_move_are_saved_as_they_are(tmp_path):
    path, record = tmp_path / "r.json", Record({}, [{"key": "a"}, {"key": "b"}])
    record.save(path)
    record.rows[1]["proposed"] = True
    record.rows.insert(0, {"key": "first"})
    record.save(path)
    assert load(path).rows == record.rows == [{"key": "first"}, {"key": "a"}, {"key": "b", "proposed": True}]
    del record.rows[:2]
    record.save(path)
    assert load(path).rows == [{"key": "b", "proposed": True}]


def test_a_forward_case_is_timed_in_eval_mode_and_a_step_of_training_is_not():
    for passes, training in (("forward", False), ("training", True)):
        for peer in peers.peers(dataclasses.replace(CASE, passes=passes), CPU).values():
            assert peer.module.training is training


def test_what_is_no_record_is_refused_in_one_line(tmp_path):
    with pytest.raises(RecordError, match="expected a record, got no file"):
        load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(RecordError, match="expected a record with environment and rows"):
        load(tmp_path / "bad.json")


def test_the_tables_for_people_time_every_peer():
    class Benchmark:
        group = None

        def pedantic(self, call, **options):
            call()

    benchmark = Benchmark()
    for peer in ("torch.nn", "ours", "reference"):
        speed.test_speed(benchmark, speed.CASES[0], peer)
    assert benchmark.group == speed.CASES[0].key
