"""The text of `python -m fusedrnn info`, on devices that are pretended or absent."""

import subprocess
import sys

import pytest
import torch

from fusedrnn.auto import report, store
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.auto.parity import Judged
from fusedrnn.auto.terminal import table
from fusedrnn.kernels import launch

H100 = Machine("NVIDIA H100", (9, 0), 132, "0.1.0", "0123456789ab", "2.13.0", "3.7.1", "91002")
T4 = Machine("Tesla T4", (7, 5), 40, "0.1.0", "0123456789ab", "2.13.0", "3.7.1", "91002")
KIND = "gru bfloat16 I=512 H=512 L=1 D=1 B=32 T=256 training"
FASTER = Decision("triton", "the kernels are 2.00 times as fast as torch's own", (3, -1), 0.5, 1.0, 0.25, 3.14)


@pytest.fixture
def cards(monkeypatch, fresh):
    """Two H100."""
    found = [H100, H100]
    monkeypatch.setattr(report, "devices", lambda: [torch.device("cuda", index) for index in range(len(found))])
    monkeypatch.setattr(
        report, "machine_of", lambda device: found[device.index] if device.type == "cuda" else machine_of(device)
    )
    return found


def keep(**fields):
    store._write(H100, store.Decisions(**fields))


def test_the_last_column_of_a_table_is_wrapped():
    rows = [("a", "1.0", "one two three four five six"), ("bcd", "22.0", "seven")]
    columns = {"name": "<", "ms": ">", "why": "<"}
    assert table(columns, rows).splitlines() == [
        "name    ms  why",
        "----  ----  ---------------------------",
        "a      1.0  one two three four five six",
        "bcd   22.0  seven",
    ]
    assert table(columns, rows, 36).splitlines() == [
        "name    ms  why",
        "----  ----  ------------------------",
        "a      1.0  one two three four five",
        "              six",
        "bcd   22.0  seven",
    ]
    assert table(columns, rows, 5) == table(columns, rows, 36)
    assert table(columns, []).splitlines() == ["name  ms  why", "----  --  ---"]


def test_decisions_of_a_card(cards):
    keep(decisions={KIND: FASTER, "another": torchs("the kernels raise an error")})
    lines = report.info().splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("backend "))
    assert lines[start - 1] == f"  NVIDIA H100: {store.path_of(H100)}"
    assert lines[start:] == [
        "backend  kernels ms  torch ms  rows     error  took s  kind of call: why",
        f"-------  ----------  --------  -------  -----  ------  {'-' * (len(KIND) + 2 + len(FASTER.reason))}",
        "aten              -         -               -       -  another: the kernels raise an error",
        f"triton        0.500     1.000  3 table   0.25     3.1  {KIND}: {FASTER.reason}",
        report.LEGEND,
    ]


def test_decisions_fit_a_terminal(cards):
    keep(decisions={KIND: FASTER})
    lines = report.info(90).splitlines()
    lines = lines[next(k for k, line in enumerate(lines) if line.startswith("backend ")) :]
    assert max(map(len, lines)) <= 90
    assert " ".join(line[55:].strip() for line in lines[2:6]) == f"{KIND}: {FASTER.reason}"


def test_rows_of_the_launch_table():
    def rows(decision):
        return report.decision_table({"k": decision}).splitlines()[2].split()[3:-1]

    assert rows(Decision("triton", "", seconds=1.0)) == ["table", "-", "1.0"]
    assert rows(Decision("triton", "", (-1, 2), seconds=1.0)) == ["table", "2", "-", "1.0"]
    assert rows(Decision("aten", "", (-1, 2), seconds=1.0)) == ["-", "1.0"]


def test_devices_and_each_card_once(cards):
    text = report.info()
    for index in (0, 1):
        assert f"  cuda:{index}: NVIDIA H100, compute capability 9.0, 132 multiprocessors\n" in text
    assert text.count("NVIDIA H100: ") == 1
    assert text.endswith("  no decisions yet")


def test_a_card_that_the_kernels_do_not_run_on(cards):
    cards[1] = T4
    lines = report.info().splitlines()
    reason = "the kernels do not run here: expected a GPU of compute capability 8.0 or above, got 7.5"
    assert lines[lines.index("  cuda:1: Tesla T4, compute capability 7.5, 40 multiprocessors") + 1] == f"    {reason}"
    assert sum(reason in line for line in lines) == 1


def test_wrong_kernels_and_measurements_that_did_not_end(cards):
    keep(begun={"one": 1, "other": store.ATTEMPTS}, wrong={"one": "h_n: relative error 3, allowed 0.1"})
    lines = report.info().splitlines()
    assert "  the kernels are wrong on this card and are not used: one: h_n: relative error 3, allowed 0.1" in lines
    assert "  a measurement did not end, 1 of at most 3 times: one" in lines
    ended = "  a measurement did not end, 3 of at most 3 times: other"
    assert f"{ended}; `python -m fusedrnn tune --again` tries again" in lines


def test_a_file_that_is_none_is_told_in_the_text(cards, capfd):
    store._say_once.cache_clear()
    path = store.path_of(H100)
    path.parent.mkdir()
    path.write_text('{"format": 1, "decisions"')
    lines = report.info().splitlines()
    (told,) = [line for line in lines if "expected a file of decisions, got none" in line]
    assert told.startswith(f"  auto: expected a file of decisions, got none: {path}: ")
    assert lines[-1] == "  no decisions yet"
    assert capfd.readouterr().err == ""


def test_a_folder_that_is_none(cards, fresh):
    store._say_once.cache_clear()
    fresh.write_text("")
    assert "Not a directory" in report.info()


def test_the_error_word(cards, monkeypatch):
    word = torch.zeros(1, dtype=torch.int32)
    monkeypatch.setitem(launch._error_words, torch.device("cuda", 1), word)
    lines = report.info().splitlines()
    first, second = (next(k for k, line in enumerate(lines) if line.startswith(f"  cuda:{i}: ")) for i in (0, 1))
    assert lines[first + 1] == "    error word: no kernel has run in this process"
    assert lines[second + 1] == "    error word: 0, no program timed out"
    word.fill_(7)
    assert report.info().splitlines()[second + 1] == "    error word: 7, a program timed out"
    monkeypatch.delitem(sys.modules, "fusedrnn.kernels.launch")  # not imported for this
    assert report.info().splitlines()[second + 1] == "    error word: no kernel has run in this process"


def test_settings(cards, monkeypatch):
    for name, value in (("FUSEDRNN_AUTO", "cached"), ("FUSEDRNN_AUTO_BUDGET", "2.5"), ("FUSEDRNN_BACKEND", "aten")):
        monkeypatch.setenv(name, value)
    text = report.info()
    assert "\nFUSEDRNN_BACKEND=aten\nFUSEDRNN_AUTO=cached\nFUSEDRNN_AUTO_BUDGET=2.5\nFUSEDRNN_CACHE_DIR=" in text
    assert "Backend auto: mode cached, at most 2.5 s of measuring in a process\n" in text
    assert "Backends; calls that name none use aten\n" in text


def test_verdicts():
    text = report.verdict_table({"k": Judged("right", 0.5, "output: fine"), "l": Judged("wrong", float("inf"), "bad")})
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["right", "0.50", "k:", "output:", "fine"],
        ["wrong", "inf", "l:", "bad"],
    ]


@pytest.mark.parametrize("absent", [False, True])
def test_without_a_gpu_nothing_is_imported_or_made(tmp_path, absent, monkeypatch):
    """In a process of its own, with triton there or absent."""
    monkeypatch.setenv("FUSEDRNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code = f"""
import sys
if {absent}:
    sys.modules["triton"] = None
from fusedrnn.__main__ import main
status = main(["info"])
print([name for name in ("triton", "fusedrnn.kernels.launch", "filelock") if sys.modules.get(name)])
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n[]\n")
    assert "  no CUDA device\n" in done.stdout
    assert f"  triton: expected {'the package triton' if absent else 'a CUDA device'}, got none" in done.stdout
    assert f"  decisions would be kept in {tmp_path / 'cache'}; " in done.stdout
    assert not (tmp_path / "cache").exists()
