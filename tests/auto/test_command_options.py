"""`python -m fusedrnn`: what its options and environment variables mean, and which it refuses."""

import sys
from types import SimpleNamespace

import pytest
import torch

from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.__main__ import main
from fusedrnn.auto import choose, options
from fusedrnn.auto.machine import machine_of
from fusedrnn.auto.options import device_of, kinds, parser
from fusedrnn.precision import allow_rnn_tf32

CPU = torch.device("cpu")
SMALL = ("--hidden", "5", "--batch", "2", "--steps", "2", "--dtype", "float32")


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """No settings, and an empty folder of decisions."""


@pytest.fixture
def cuda(monkeypatch):
    """Two GPUs, the second of which is current; what `torch.cuda` says of them can be changed."""
    says = SimpleNamespace(is_available=True, device_count=2, current_device=1)
    for name in vars(says):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: getattr(says, name))
    says.capability = (9, 0)
    machine = machine_of(CPU)
    monkeypatch.setattr(options, "machine_of", lambda device: machine._replace(capability=says.capability))
    return says


def fails(*arguments):
    """The exit status of a command that argparse refuses."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def named(*arguments):
    """The kinds that a command line names."""
    return kinds(parser(None).parse_args(["tune", *arguments]))


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
    with torch.no_grad(), choose.noticed() as found:
        module(example)
    assert named(*SMALL, *arguments) == [kind for _, kind in found]


def test_more_options_name_the_kinds_of_calls(speeds):
    module, x = FusedGRU(8, 5), torch.zeros(2, 2, 8)
    with choose.noticed() as found:
        module(x, lengths=torch.tensor([2, 1]))
        module(torch.nn.utils.rnn.pack_sequence([x[:, 0], x[:1, 0]]))
    given = (*SMALL, "--cell", "gru", "--mode", "inference")
    assert named(*given, "--layout", "lengths", "packed") == [kind for _, kind in found if not kind.training]
    with choose.noticed() as found:
        module(x, return_all_states=True)
    assert named(*given, "--all-states") == [kind for _, kind in found if not kind.training]
    with allow_rnn_tf32(False), choose.noticed() as found:
        module(x)
    assert named(*given, "--no-tf32") == [kind for _, kind in found if not kind.training]


def test_a_kind_is_named_once():
    found = named("--batch", "30", "32", "--steps", "4096", "9999", "--cell", "gru", "gru", "--hidden", "8", "16")
    assert [(kind.hidden_size, kind.training) for kind in found] == [(8, True), (8, False), (16, True), (16, False)]
