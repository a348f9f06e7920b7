"""The pairs beside torch.nn on a CPU: what the script writes, and what the committed record says."""

import json

import pytest

from benchmarks.measuring import cpu_pairs
from benchmarks.measuring.records import RESULTS

RECORD = RESULTS / "cpu_pairs.json"


def test_a_run_writes_a_row_a_shape_and_the_summary(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cpu_pairs, "HIDDEN", (4,))
    monkeypatch.setattr(cpu_pairs, "SHAPES", dict.fromkeys(("layer", "cell"), ((2, 3), (1, 40))))
    monkeypatch.setattr(
        "sys.argv", ["cpu_pairs", "--out", str(tmp_path / "r.json"), "--threads", "1", "--seconds", "0.001"]
    )
    cpu_pairs.main()
    record = json.loads((tmp_path / "r.json").read_text())
    assert [(r["module"], r["B"], r["T"], r["mode"]) for r in record["rows"]] == [
        (module, B, T, mode)
        for module in ("gru", "lstm", "gru cell", "lstm cell")
        for B, T in ((2, 3), (1, 40))
        for mode in ("inference", "training")
    ]
    assert all(r["pairs"] >= 15 and r["ratio"] > 0 for r in record["rows"])
    assert record["summary"] == cpu_pairs.summary(record["rows"])
    assert "1 threads, gru, training: min" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_ratios_are_of_a_pair_and_their_mean_is_geometric():
    clock = iter(range(1000))
    found = cpu_pairs.pairs([lambda: None, lambda: next(clock)], 0.0, lambda: float(next(clock)))
    assert len(found) == 15
    assert set(found) == {(1.0, 2.0)}  # the second takes one tick more
    rows = [{"threads": 1, "module": "gru", "mode": "training", "ratio": r} for r in (0.5, 2.0)]
    assert cpu_pairs.summary(rows)["1 threads, gru, training"] == {"min": 0.5, "geometric_mean": pytest.approx(1.0)}


def test_the_record_says_that_no_shape_is_five_per_cent_slower_on_one_thread_or_two():
    record = json.loads(RECORD.read_text())
    assert record["summary"] == cpu_pairs.summary(record["rows"])
    assert min(row["ratio"] for row in record["rows"]) >= 0.95
    for threads in (1, 2):
        assert record["summary"][f"{threads} threads, gru, training"]["geometric_mean"] >= 1.3
