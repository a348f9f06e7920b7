"""A kernel that does its work twice is reported; noise within the spread is not."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.measuring import compare, peers, repeat
from benchmarks.measuring.cases import Case
from benchmarks.measuring.compare import changes
from benchmarks.measuring.measure import Options, measure
from benchmarks.measuring.records import Record
from fusedrnn.operators import unrolled

ROOT = Path(__file__).parents[2]
CASE = Case(
    "cpu", "gru", "fp32", T=24, B=16, I=2000, H=64, input="ids"
)  # ids of so large a vocabulary run on the unrolled sweeps


def record(tmp_path, name, **change):
    row = {"key": "k", "peer": "ours", "median_s": 1.0, "ratio": 2.0, "ratio_p20": 1.98, "ratio_p80": 2.02}
    path = tmp_path / f"{name}.json"
    Record({}, [{**row, **change}, {"key": "k", "peer": "torch.nn", "median_s": 1.0}]).save(path)
    return str(path)


def measured(monkeypatch):
    monkeypatch.setattr(peers, "ours_backend", lambda device: "auto")
    torch.set_num_threads(1)
    return Record({}, measure(CASE, torch.device("cpu"), Options(rounds=9, warmup=1)))


def compared(monkeypatch, capsys, folder):
    """Exit status and lines of `compare` for a sweep before and after it does its work five times, and for the same sweep twice."""
    original = unrolled.forward

    def slowed(*arguments, **options):
        for _ in range(4):
            original(*arguments, **options)
        return original(*arguments, **options)

    files = []
    for name, sweep in (("old", original), ("slow", slowed), ("same", original)):
        with monkeypatch.context() as patched:
            patched.setattr(unrolled, "forward", sweep)
            files.append(folder / f"{name}.json")
            measured(patched).save(files[-1])
    old, slow, same = map(str, files)
    found = []
    for pair in ((old, slow), (old, same), (slow, same)):
        status = compare.main(list(pair))
        found.append((status, capsys.readouterr().out.splitlines()))
    return found


def test_a_sweep_with_five_times_the_work_is_a_regression_and_the_same_sweep_is_none(tmp_path, monkeypatch, capsys):
    """Three tries: another program on the machine may slow one measurement down."""
    for _ in range(3):
        (slower, lines), (equal, _), (faster, more) = compared(monkeypatch, capsys, tmp_path)
        reported = [line for line in lines if line.startswith("REGRESSION")]
        if not equal and not any("of reference" in line for line in reported):
            break
    assert slower == 1
    assert any("of ours, cpu: time of gru" in line for line in reported)
    assert not any("of reference" in line for line in reported)
    assert (equal, faster) == (0, 0)
    assert any("faster" in line for line in more)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ratio": 1.8, "ratio_p20": 1.79, "ratio_p80": 1.81}, 1),
        ({"ratio": 1.96, "ratio_p20": 1.95, "ratio_p80": 1.97}, 0),  # 2% is not reported
        ({"ratio": 1.8, "ratio_p20": 1.6, "ratio_p80": 2.0}, 0),  # 11% lost, spreads of 24%
        ({"ratio": 3.0, "ratio_p20": 2.99, "ratio_p80": 3.01}, 0),
        ({"error": "wrong result"}, 1),
        ({"peak_bytes": 9}, 0),
    ],
    ids=["slower", "hardly", "noisy", "faster", "lost", "new quantity"],
)
def test_threshold_follows_the_spread(tmp_path, change, expected):
    assert compare.main([record(tmp_path, "old"), record(tmp_path, "new", **change)]) == expected


def test_more_memory_and_more_kernels_are_regressions(tmp_path):
    old = record(tmp_path, "old", peak_bytes=100, kernels=40)
    assert compare.main([old, record(tmp_path, "a", peak_bytes=104, kernels=40)]) == 0
    assert compare.main([old, record(tmp_path, "b", peak_bytes=120, kernels=40)]) == 1
    assert compare.main([old, record(tmp_path, "c", peak_bytes=100, kernels=44)]) == 1


def test_without_torch_nn_the_times_themselves_are_compared():
    row = {"key": "k", "peer": "ours", "median_s": 1.0, "p20_s": 0.99, "p80_s": 1.01}
    slower = {**row, "median_s": 1.2, "p20_s": 1.19, "p80_s": 1.21}
    ((change,), _) = changes(Record({}, [row]), Record({}, [slower]))
    assert (change.regressed, change.quantity, round(change.loss, 6)) == (True, "time", 0.2)
    assert not dataclasses.replace(change, loss=-change.loss).regressed


def test_records_with_nothing_in_common_are_an_error(tmp_path):
    other = record(tmp_path, "other", key="another")
    (tmp_path / "empty.json").write_text('{"environment": {}, "rows": []}')
    command = [sys.executable, "-m", "benchmarks.measuring.compare", str(tmp_path / "empty.json"), other]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "to have a case in common, got none" in done.stderr
    done = subprocess.run([*command[:3], str(tmp_path / "no.json"), other], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no.json: expected a record, got no file" in done.stderr


@pytest.mark.parametrize(("third", "expected"), [(2.15, 0), (2.3, 1), (1.8, 1)])
def test_ratios_that_differ_by_a_tenth_do_not_repeat(tmp_path, third, expected, capsys):
    paths = [record(tmp_path, str(k), ratio=ratio) for k, ratio in enumerate((2.0, 2.05, third))]
    assert repeat.main(paths) == expected
    assert f"2.000  2.050  {third:.3f}  ours      k" in capsys.readouterr().out


def test_one_record_cannot_repeat(tmp_path, capsys):
    with pytest.raises(SystemExit):
        repeat.main([record(tmp_path, "only")])
    assert "expected at least two records with a case in common, got 1" in capsys.readouterr().err
