"""`python -m fusedrnn`: what it writes and with which exit status it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from fusedrnn import __main__
from fusedrnn.__main__ import main
from fusedrnn.auto import report, store, terminal
from fusedrnn.auto.machine import machine_of
from fusedrnn.backends import rules
from fusedrnn.kernels import sweeps

CPU = torch.device("cpu")
SMALL = ("--hidden", "5", "--batch", "2", "--steps", "2", "--dtype", "float32")
CHECK = ("tune", "--check", "--device", "cpu", *SMALL)
GRU = "gru float32 I=8 H=5 L=1 D=1 B=2 T=2"


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """No settings, and an empty folder of decisions."""


@pytest.fixture
def pretended(interpreted, monkeypatch):
    """`tune` measures on a CPU that is taken for a GPU."""
    monkeypatch.setattr(__main__, "device_of", lambda text, check: CPU)
    return interpreted


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: python -m fusedrnn [-h] command ...\n")
    assert "info      show versions" in err


def test_info(capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr() == (f"{report.info()}\n", "")


def test_check_of_right_kernels(capsys, fresh):
    """A bar of lines on standard error, verdicts on standard output, and nothing kept."""
    assert main([*CHECK, "--mode", "inference"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["verdict", "error", "kind"]
    assert [line.split()[0] for line in lines[2:]] == ["right", "right"]
    assert f"{GRU} inference tf32: " in lines[2]
    assert err == (
        f"[........................] 0/2 {GRU} inference tf32\n"
        f"[############............] 1/2 {GRU.replace('gru', 'lstm')} inference tf32\n"
    )
    assert not fresh.exists()


def test_check_without_tf32(capsys, monkeypatch):
    seen = []
    forward = sweeps.forward

    def noted(*arguments, **options):
        seen.append(torch.backends.cudnn.allow_tf32)
        return forward(*arguments, **options)

    monkeypatch.setattr(sweeps, "forward", noted)
    before = torch.backends.cudnn.allow_tf32
    assert main([*CHECK, "--mode", "inference", "--cell", "gru", "--no-tf32"]) == 0
    assert f"{GRU} inference: " in capsys.readouterr().out
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 is before


@pytest.fixture
def wrong(monkeypatch):
    """The forward sweep of the LSTM returns half of what it should."""
    forward = sweeps.forward

    def halved(cell, *arguments, **options):
        done = forward(cell, *arguments, **options)
        if cell == "lstm":
            done.output.mul_(0.5)
        return done

    monkeypatch.setattr(sweeps, "forward", halved)


def test_check_of_wrong_kernels(wrong, capsys):
    assert main([*CHECK, "--mode", "inference"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["right", "wrong"]
    assert "inference tf32: output: relative error 0.5, allowed " in lines[3]


def test_check_of_kernels_that_raise(monkeypatch, capsys):
    def broken(*arguments, **options):
        raise ArithmeticError("too hot\nand more")

    monkeypatch.setattr(sweeps, "forward", broken)
    assert main([*CHECK, "--mode", "inference", "--cell", "gru"]) == 1
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"wrong      inf  {GRU} inference tf32: the kernels raise ArithmeticError: too hot"
    ]


def test_check_against_a_torch_that_raises(monkeypatch, capsys):
    """The other kinds are checked all the same."""

    def broken(call):
        if call.spec.cell == "gru":
            raise ArithmeticError("too cold")
        return run(call)

    run = rules.ENGINES["torch"]
    monkeypatch.setitem(rules.ENGINES, "torch", broken)
    assert main([*CHECK, "--mode", "inference"]) == 1
    lines = capsys.readouterr().out.splitlines()[2:]
    assert lines[0].split()[:4] == ["not", "checked", "-", "gru"]
    assert lines[0].endswith("torch's own raises ArithmeticError: too cold")
    assert lines[1].split()[0] == "right"


def test_tune_measures_once(pretended, capsys):
    options = ["tune", *SMALL, "--cell", "gru", "--mode", "inference"]
    assert main(options) == 0
    first, err = capsys.readouterr()
    assert err == f"[........................] 0/1 {GRU} inference tf32\n"
    lines = first.splitlines()
    assert lines[0] == "backend  kernels ms  torch ms  rows   error  took s  kind of call: why"
    assert lines[2].split()[:4] == ["triton", "1000.000", "2000.000", "table"]
    assert lines[2].endswith(f"  {GRU} inference tf32: the kernels are 2.00 times as fast as torch's own")
    assert lines[3] == report.LEGEND
    assert lines[4] == f"file of decisions: {store.path_of(machine_of(CPU))}"
    counted = dict(pretended.ran)
    assert main(options) == 0
    assert capsys.readouterr().out == first
    assert pretended.ran == counted
    pretended.torch = 0.5
    assert main([*options, "--again"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:3] == ["aten", "1000.000", "500.000"]
    assert pretended.ran != counted


def test_tune_with_wrong_kernels(pretended, wrong, capsys):
    """A line instead of a warning, and exit status 1; nothing more is measured, and nothing right is forgotten."""
    options = ["tune", *SMALL, "--cell", "lstm", "gru", "--mode", "inference"]
    for again in ([], ["--again"]):
        pretended.ran.clear()
        assert main([*options, *again]) == 1
        out, err = capsys.readouterr()
        assert [line.split()[0] for line in out.splitlines()[2:4]] == ["aten", "aten"]
        assert all(
            ": the kernels are wrong on this card: output: relative error " in line for line in out.splitlines()[2:4]
        )
        (told,) = err.splitlines()[2:]
        assert told.startswith("python -m fusedrnn: fusedrnn: the Triton kernels gave a wrong result on interpreter: ")
        assert pretended.ran == {"kernels": 1, "torch": 1}
        assert store.load(machine_of(CPU)).wrong != {}


def test_tune_where_nothing_can_be_kept(pretended, fresh, capsys):
    fresh.write_text("")
    assert main(["tune", *SMALL, "--cell", "gru", "--mode", "inference"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2].split()[0] == "triton"
    assert "\npython -m fusedrnn: auto: decisions are not kept: FileExistsError: " in err


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    """It fits in a line, is shown in place of the one before, and is gone after the work, also after an error."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")

    @__main__._progress()
    def work():
        terminal.show(0, 2, "long " * 10)
        terminal.show(1, 2, "short")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    clear = "\r\033[K"
    bars = "[........................] 0/2 long long", "[############............] 1/2 short"
    assert capsys.readouterr().err == f"{clear}{bars[0][:39]}{clear}{bars[1]}{clear}"


def test_tables_are_as_wide_as_the_terminal(monkeypatch):
    assert terminal.width() is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    assert terminal.width() == 70


def start(*arguments, **options):
    """The command as a process."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "fusedrnn", *arguments], env=environment, stderr=subprocess.PIPE, text=True, **options
    )


def test_an_interrupt_ends_the_process_after_the_step_that_it_is_in():
    sizes = ("--hidden", "20", "--batch", "16", "--steps", "16")

    def heed():  # it is ignored where a shell says so
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = start("tune", "--check", "--device", "cpu", *sizes, preexec_fn=heed)
    first = process.stderr.readline()
    time.sleep(0.5)  # into the check
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert first.startswith("[........................] 0/4 gru bfloat16 ")
    assert (process.returncode, rest) == (-signal.SIGINT, "")


def test_a_reader_that_has_enough():
    process = start("info", stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
    process.stderr.close()
