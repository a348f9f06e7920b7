"""The comparison with torch.nn on a CPU: what the script measures and writes, and what the committed record has."""

import json

import pytest
import torch

from benchmarks.measuring import cpu_cases, cpu_pairs, cpu_report
from benchmarks.measuring.records import RESULTS, Record


@pytest.fixture
def small(monkeypatch):
    """One small shape a path."""
    monkeypatch.setattr(cpu_cases, "HIDDEN", (4,))
    for name in ("SHAPES", "STEPWISE"):
        monkeypatch.setattr(cpu_cases, name, ((2, 3),))
    monkeypatch.setattr(cpu_cases, "LONG", (1, 4))


def test_a_run_writes_a_row_a_case(small, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(
        "sys.argv", ["cpu_pairs", "--out", str(tmp_path / "r.json"), "--threads", "1", "--seconds", "0.001"]
    )
    try:
        cpu_pairs.main()
    finally:
        torch.set_num_threads(threads)
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    expected = [
        (path, s.cell, s.B, s.T, "training" if s.training else "inference")
        for path in cpu_cases.PATHS
        for s in cpu_cases.cases(path)
    ]
    assert [(r["path"], r["cell"], r["B"], r["T"], r["mode"]) for r in rows] == expected
    assert all(ratio > 0 for r in rows for ratio in r["ratios"].values())
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_run_may_be_of_some_paths_and_cells(small, tmp_path, monkeypatch):
    threads, path = torch.get_num_threads(), tmp_path / "r.json"
    options = ["--threads", "1", "--seconds", "0.001", "--paths", "layer", "ids", "--cells", "rnn"]
    monkeypatch.setattr("sys.argv", ["cpu_pairs", "--out", str(path), *options])
    try:
        cpu_pairs.main()
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(path.read_text())["rows"]
    assert {(r["path"], r["cell"]) for r in rows} == {("layer", "rnn"), ("ids", "rnn")}


@pytest.mark.parametrize("path", cpu_cases.PATHS)
@pytest.mark.parametrize("cell", cpu_cases.LAYERS)
def test_both_sides_of_a_case_compute_the_same(path, cell):
    each = cpu_cases.PATHS[path](cpu_cases.Sizes(cell, 4, 3, 5, training=False))
    results = [call() for name, call in each.items() if name != "embedding"]  # which has weights of its own
    for other in results[1:]:
        torch.testing.assert_close(results[0], other)


def test_a_ratio_is_the_median_of_the_rounds():
    clock = iter(range(1000))
    each = {"torch.nn": lambda: next(clock), "ours": lambda: None}  # the first takes one tick more
    times = cpu_pairs.rounds(each, 0.0, lambda: float(next(clock)))
    assert times == {"torch.nn": [2.0] * 9, "ours": [1.0] * 9}
    assert cpu_pairs.ratios(times) == {"torch.nn": 2.0}
    assert cpu_pairs.ratios({"a": [1.0, 9.0, 2.0], "ours": [1.0, 1.0, 1.0]}) == {"a": 2.0}


def test_the_leaves_of_a_backward_are_found():
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    found = cpu_pairs.leaves((a * b + a).sum() * c.detach().sum())
    assert {id(t) for t in found} == {id(a), id(b)}


def row(path, ratios, **more):
    sizes = {"threads": 1, "cell": "gru", "H": 16, "B": 1, "T": 1, "mode": "inference", "ours_ms": 1.0}
    return {"path": path, **sizes, **more, "ratios": ratios}


def test_the_table_has_means_and_the_slowest_and_lists_the_slow_rows(tmp_path):
    rows = [
        row("ids", {"one-hot": 2.0, "embedding": 0.5}),
        row("ids", {"one-hot": 8.0, "embedding": 0.75}, H=64),
        row("layer", {"torch.nn": 0.98}, cell="lstm", mode="training"),
    ]
    found = cpu_report.ratios(Record({}, rows))
    beside = "ids, beside nn.Embedding of width H"
    assert cpu_report.summary(found) == [
        ["ids", "4.00 (2.00)", "", "", "", "", "", "0 of 2"],
        ["layer", "", "", "", "0.98 (0.98)", "", "", "0 of 1"],
        [beside, "0.61 (0.50)", "", "", "", "", "", "2 of 2"],
    ]
    assert cpu_report.slow(found) == [
        [beside, "gru", "inference", 16, 1, 1, 1, "0.50"],
        [beside, "gru", "inference", 64, 1, 1, 1, "0.75"],
    ]
    cpu_report.draw(found, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_the_record_has_every_rival_of_its_paths():
    rows = json.loads((RESULTS / "cpu_pairs.json").read_text())["rows"]
    assert {row["path"] for row in rows} == set(cpu_cases.PATHS)
    for row in rows:
        of_ids = "ids" in row["path"] or row["path"] == "generation"
        alone = {"one-hot"} if row["path"] == "AWD-LSTM" else {"torch.nn"}
        assert set(row["ratios"]) == ({"one-hot", "embedding"} if of_ids else alone)
