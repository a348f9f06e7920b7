"""`python -m fusedrnn`: what it writes, with which exit status it ends, and which kinds its options name."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from fusedrnn import FusedGRU, FusedLSTM, __main__
from fusedrnn.__main__ import device_of, kinds, main, parser
from fusedrnn.auto import choose, report, store, terminal
from fusedrnn.auto.kind import kind_of
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
def pretended(speeds, monkeypatch):
    """`tune` measures on a CPU that is taken for a GPU."""
    monkeypatch.setattr(__main__, "device_of", lambda text, check: CPU)
    return speeds


@pytest.fixture
def cuda(monkeypatch):
    """Two GPUs, the second of which is current; what `torch.cuda` says of them can be changed."""
    says = SimpleNamespace(is_available=True, device_count=2, current_device=1)
    for name in vars(says):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: getattr(says, name))
    says.capability = (9, 0)
    machine = machine_of(CPU)
    monkeypatch.setattr(__main__, "machine_of", lambda device: machine._replace(capability=says.capability))
    return says


def fails(*arguments):
    """The exit status of a command that argparse refuses."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def named(*arguments):
    """The kinds that a command line names."""
    return kinds(parser().parse_args(["tune", *arguments]))


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: python -m fusedrnn [-h] command ...\n")
    assert "info      show versions" in err


def test_info(capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr() == (f"{report.info()}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "abc"], "argument --hidden: expected a whole number of at least 1, got 'abc'"),
        (["--hidden", "5", "0"], "argument --hidden: expected a whole number of at least 1, got '0'"),
        (["--input", "1.5"], "argument --input: expected a whole number of at least 1, got '1.5'"),
        (["--cell", "rnn"], "argument --cell: invalid choice: 'rnn' (choose from "),
    ],
)
def test_options_that_cannot_be_read(arguments, message, capsys):
    assert fails("tune", *arguments) == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert usage == "usage: python -m fusedrnn tune [options]"
    assert error.startswith(f"python -m fusedrnn tune: error: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--projection", "4"], "--projection: expected --cell lstm and less than --hidden, got --cell gru lstm and 4 of 512"),
        (
            ["--projection", "4", "--cell", "lstm", "--hidden", "8", "4"],
            "--projection: expected --cell lstm and less than --hidden, got --cell lstm and 4 of 4",
        ),
        (["--dropout", "each"], "--dropout: expected --layers of at least 2, for it acts between layers, got 1"),
        (["--device", "abc"], "--device: expected cuda or cuda:N, or cpu with TRITON_INTERPRET=1 and --check, got abc"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(arguments, message, capsys):
    assert main(["tune", *arguments]) == 2
    assert capsys.readouterr() == ("", f"python -m fusedrnn: {message}\n")


@pytest.mark.parametrize("command", ["info", "tune"])
@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("FUSEDRNN_AUTO", "FUSEDRNN_AUTO: expected one of measure, cached, off, got 'x'"),
        ("FUSEDRNN_AUTO_BUDGET", "FUSEDRNN_AUTO_BUDGET: expected seconds, 0 or more, got 'x'"),
        ("FUSEDRNN_BACKEND", "backend: expected one of auto, reference, aten, triton, got 'x'"),
    ],
)
def test_environment_variables_with_wrong_values(command, variable, message, monkeypatch, capsys):
    monkeypatch.setenv(variable, "x")
    assert main([command]) == 2
    assert capsys.readouterr() == ("", f"python -m fusedrnn: {message}\n")


def refusal(text, *, check):
    with pytest.raises(ValueError, match="expected") as caught:
        device_of(text, check=check)
    return str(caught.value)


def test_devices(cuda, monkeypatch):
    """cuda is the current device; a device must be there, and one that the kernels run on."""
    monkeypatch.delenv("TRITON_INTERPRET")
    assert device_of("cuda", check=False) == torch.device("cuda", 1)
    assert device_of("cuda:0", check=True) == torch.device("cuda", 0)
    assert (
        refusal("cuda:7", check=False)
        == "--device: expected one of the 2 CUDA devices, counted from cuda:0, got cuda:7"
    )
    cuda.capability = (7, 5)
    assert refusal("cuda:0", check=True) == "cuda:0: expected a GPU of compute capability 8.0 or above, got 7.5"
    for text, check in (("cpu", True), ("cpu", False), ("mps", True), ("", True), ("0.5", False)):
        assert refusal(text, check=check) == (
            f"--device: expected cuda or cuda:N, or cpu with TRITON_INTERPRET=1 and --check, got {text}"
        )
    cuda.is_available = False
    assert refusal("cuda", check=True).startswith("expected a CUDA device, got none (TRITON_INTERPRET=1 runs ")
    monkeypatch.setitem(sys.modules, "triton", None)
    assert refusal("cuda", check=False) == "expected the package triton, got none installed"


def test_devices_in_the_interpreter(cuda, monkeypatch):
    """Results can be compared in the interpreter; its times mean nothing."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert device_of("cpu", check=True) == CPU
    assert device_of("cuda:0", check=True) == torch.device("cuda", 0)
    assert refusal("cuda:0", check=False).startswith("TRITON_INTERPRET: expected it not to be set")
    assert refusal("cpu", check=False).startswith("--device: expected cuda or cuda:N, or cpu with ")
    cuda.is_available = False
    assert device_of("cpu", check=True) == CPU
    assert refusal("cuda:0", check=True) == "expected a CUDA device, got none"


@pytest.mark.parametrize(
    ("arguments", "module", "example"),
    [
        (("--cell", "gru"), FusedGRU(8, 5), torch.zeros(2, 2, 8)),
        (("--cell", "gru", "--input", "3"), FusedGRU(3, 5), torch.zeros(2, 2, 3)),
        (("--cell", "gru_before"), FusedGRU(8, 5, reset_after=False), torch.zeros(2, 2, 8)),
        (("--cell", "lstm", "--projection", "3"), FusedLSTM(8, 5, proj_size=3), torch.zeros(2, 2, 8)),
        (("--cell", "lstm", "--bidirectional", "--no-bias"), FusedLSTM(8, 5, bias=False, bidirectional=True), torch.zeros(2, 2, 8)),
        (("--cell", "gru", "--layers", "2", "--dropout", "each"), FusedGRU(8, 5, 2, dropout=0.1), torch.zeros(2, 2, 8)),
        (
            ("--cell", "gru", "--layers", "3", "--dropout", "shared"),
            FusedGRU(8, 5, 3, dropout=0.1, variational=True),
            torch.zeros(2, 2, 8),
        ),
        (("--cell", "gru", "--ids", "--input", "6"), FusedGRU(6, 5), torch.zeros(2, 2, dtype=torch.int64)),
        (("--cell", "gru", "--recompute", "--batch", "3"), FusedGRU(8, 5, memory="recompute"), torch.zeros(2, 3, 8)),
        (("--cell", "gru", "--steps", "5000", "--batch", "1"), FusedGRU(8, 5), torch.zeros(5000, 1, 8)),
        (("--cell", "gru", "--dtype", "bfloat16"), FusedGRU(8, 5, dtype=torch.bfloat16), torch.zeros(2, 2, 8).bfloat16()),
    ],
)  # fmt: skip
def test_options_name_the_kinds_of_calls(speeds, arguments, module, example):
    with torch.no_grad(), choose.noticed() as calls:
        module(example)
    assert named(*SMALL, *arguments) == [kind_of(call, training) for call in calls for training in (True, False)]


def test_more_options_name_the_kinds_of_calls(speeds, monkeypatch):
    module, x = FusedGRU(8, 5), torch.zeros(2, 2, 8)
    with choose.noticed() as calls:
        module(x, lengths=torch.tensor([2, 1]))
        module(torch.nn.utils.rnn.pack_sequence([x[:, 0], x[:1, 0]]))
    options = (*SMALL, "--cell", "gru", "--mode", "inference")
    assert named(*options, "--layout", "lengths", "packed") == [kind_of(call, False) for call in calls]
    with choose.noticed() as calls:
        module(x, return_all_states=True)
    assert named(*options, "--all-states") == [kind_of(call, False) for call in calls]
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    with choose.noticed() as calls:
        module(x)
    assert named(*options, "--no-tf32") == [kind_of(call, False) for call in calls]


def test_a_kind_is_named_once():
    found = named("--batch", "30", "32", "--steps", "4096", "9999", "--cell", "gru", "gru", "--hidden", "8", "16")
    assert [(kind.hidden_size, kind.training) for kind in found] == [(8, True), (8, False), (16, True), (16, False)]


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
        assert store.load(machine_of(CPU)).wrong is not None


def test_tune_where_nothing_can_be_kept(pretended, fresh, capsys):
    choose._say_once.cache_clear()
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
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "fusedrnn", *arguments], env=environment, stderr=subprocess.PIPE, text=True, **options
    )


def test_an_interrupt_ends_the_process_at_once():
    process = start("tune", "--check", "--device", "cpu", "--hidden", "64", "--batch", "64", "--steps", "16")
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
