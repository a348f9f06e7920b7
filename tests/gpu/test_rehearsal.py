"""The code of the GPU tests, run at tiny sizes in the interpreter, so that mistakes in it show before a GPU is used."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

import auto_cases
import bare_machine
from gpu_cases import CELLS

from fusedrnn.auto import known
from fusedrnn.kernels import launch
from tests.gpu import test_auto as auto
from tests.gpu import test_auto_caller as caller
from tests.gpu import test_options as options
from tests.gpu import test_parity as parity
from tests.gpu import test_runtime as runtime

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU runs the tests themselves"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of NaN in the interpreter
]


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=[] if cell == "lstm" else pytest.mark.slow) for cell in CELLS]
)
def test_rows_and_modules_are_held_to_the_budget(cell, monkeypatch):
    monkeypatch.setattr(parity, "SIZES", (3, 5, 2))
    parity.test_every_row_that_fits_is_as_accurate_as_torch_operators(cell, torch.float32, 20, lengths=True)
    parity.test_modules_are_as_accurate_as_torchs(cell, torch.float32, 3, 2, 20, bidirectional=True)


def test_a_wrong_row_is_not_within_the_budget(monkeypatch):
    from fusedrnn.kernels import sweeps

    monkeypatch.setattr(parity, "SIZES", (3, 5, 1))
    original = sweeps.forward

    def slightly_wrong(*args, **options):
        done = original(*args, **options)
        return done._replace(output=done.output * (1 + 2e-3))

    monkeypatch.setattr(sweeps, "forward", slightly_wrong)
    with pytest.raises(AssertionError):
        parity.test_every_row_that_fits_is_as_accurate_as_torch_operators("gru", torch.float32, 20, lengths=False)


@pytest.mark.parametrize(("name", "cell"), list(zip(options.OPTIONS, ("lstm", "gru") * 4, strict=True)))
def test_options_are_held_to_the_budget(name, cell):
    options.compared(cell, name, torch.float32, 3, 2, 8)


def test_options_of_other_cells_and_in_evaluation_are_held_to_the_budget(monkeypatch):
    monkeypatch.setattr(options, "SIZES", [(2, 2, 8)] * 4)
    options.test_options_of_other_cells_are_as_accurate_as_the_reference("heads", "gru_before")
    options.test_options_of_other_cells_are_as_accurate_as_the_reference("layer norm", "rnn_tanh")
    options.test_zoneout_in_evaluation_is_as_accurate_as_the_reference("lstm")


def test_options_that_are_wrong_are_not_within_the_budget(monkeypatch):
    from fusedrnn.kernels import sweeps

    right = sweeps.backward

    def wrong(*args, **given):
        return right(*args, **{**given, "resets": None})

    monkeypatch.setattr(sweeps, "backward", wrong)
    with pytest.raises(AssertionError):
        options.compared("gru", "resets", torch.float32, 9, 3, 8)


def test_repeats_with_options_are_compared(monkeypatch):
    monkeypatch.setattr(launch, "capacity", lambda device: 1)
    monkeypatch.setattr(options, "SIZES", [(2, 2, 5)] * 3)
    options.test_repeats_have_the_same_bits("gru", "all, layer norm")


def test_repeats_are_compared(monkeypatch):
    monkeypatch.setattr(launch, "capacity", lambda device: 1)
    x, up = torch.randn(3, 2, 4), torch.randn(3, 2, 20)
    ours = runtime.module("lstm", 4, 20, torch.float32, "triton")
    assert runtime.equal(runtime.results(ours, x, up), runtime.results(ours, x, up))
    assert not runtime.equal(runtime.results(ours, x, up), runtime.results(ours, x + 1, up))


@pytest.fixture
def pretended(monkeypatch, empty_folder):
    """A CPU that "auto" takes for a GPU, tiny sizes, and an empty folder of decisions."""
    auto_cases.pretend_a_gpu(monkeypatch)


def test_auto_measures_once(pretended, caplog, monkeypatch):
    auto.test_the_first_call_measures_and_a_process_that_knows_nothing_finds_it(caplog, monkeypatch)


PRETENDING = """
import pytest
from auto_cases import pretend_a_gpu
pretend_a_gpu(pytest.MonkeyPatch())
"""


def test_auto_in_another_process(pretended, monkeypatch):
    monkeypatch.setattr(auto, "OTHER_PROCESS", PRETENDING + auto.OTHER_PROCESS)
    auto.test_another_process_finds_it()


@pytest.mark.parametrize("more_rows", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_what_auto_chose_has_its_bits(more_rows, pretended, monkeypatch):
    auto.test_the_kernels_that_are_chosen_give_their_own_bits(more_rows, monkeypatch)


def test_torchs_own_has_its_bits(pretended, monkeypatch):
    auto.test_where_torchs_own_is_chosen_the_output_has_its_bits(monkeypatch)


@pytest.mark.parametrize("block", [caller.autocast, caller.copying_hooks])
def test_auto_and_what_is_set_around_a_call(block, pretended, monkeypatch):
    caller.test_what_is_set_around_the_first_call_holds_for_it_alone(block, monkeypatch)


@pytest.mark.parametrize(
    "test",
    [
        caller.test_hooks_of_saved_tensors_see_nothing_of_a_measurement,
        caller.test_a_first_call_in_inference_mode_spoils_nothing,
        auto.test_a_wrong_kernel_is_found_told_and_not_used,
    ],
    ids=lambda test: test.__name__,
)
def test_auto_leaves_the_caller_as_it_was(test, pretended, monkeypatch):
    test(monkeypatch)


@pytest.mark.parametrize("reentrant", [False, True])
def test_auto_under_checkpoint(reentrant, pretended, monkeypatch):
    caller.test_a_first_call_under_checkpoint_gives_the_gradients_of_a_plain_one(reentrant, monkeypatch)


@pytest.mark.parametrize("default", ["cpu", "meta"])
def test_auto_and_the_default_device(default, pretended, monkeypatch):
    caller.test_torchs_default_device_does_not_matter(default, monkeypatch)


def test_auto_and_the_settings_of_the_process(pretended):
    caller.test_torchs_random_numbers_are_not_used()
    known.forget()
    caller.deterministically()


def test_auto_inside_a_backward(pretended, caplog, monkeypatch):
    auto.test_inside_a_backward_nothing_is_measured(caplog, monkeypatch)


def test_the_command_line_of_auto(monkeypatch):
    sizes = ("--hidden", "5", "--batch", "2", "--steps", "3", "--dtype", "float32")
    monkeypatch.setattr(auto, "CHECKED", sizes)
    auto.test_the_command_line_finds_the_kernels_right()


def test_what_is_not_installed_beside_torch_is_not_needed_to_collect(tmp_path):
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "--collect-only", "-p", "no:cacheprovider"]
    bare = bare_machine.environment(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, env=bare, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "test_parity.py" in done.stdout
    assert "not installed: hypothesis; not collected: modules/test_properties.py" in done.stdout


def test_a_bare_machine_is_one(tmp_path):
    code = f"""
for name in {bare_machine.ABSENT}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        print(name)
"""
    bare = bare_machine.environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare, check=True)
    assert tuple(done.stdout.split()) == bare_machine.ABSENT
