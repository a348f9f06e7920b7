"""The code of the GPU tests, run at tiny sizes in the interpreter, so that mistakes in it show before a GPU is used."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

import bare_machine
from gpu_cases import CELLS

from fusedrnn.kernels import launch
from tests.gpu import test_parity as parity
from tests.gpu import test_runtime as runtime

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU runs the tests themselves"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of NaN in the interpreter
]


@pytest.mark.parametrize("cell", CELLS)
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


def test_repeats_are_compared(monkeypatch):
    monkeypatch.setattr(launch, "capacity", lambda device: 1)
    x, up = torch.randn(3, 2, 4), torch.randn(3, 2, 20)
    ours = runtime.module("lstm", 4, 20, torch.float32, "triton")
    assert runtime.equal(runtime.results(ours, x, up), runtime.results(ours, x, up))
    assert not runtime.equal(runtime.results(ours, x, up), runtime.results(ours, x + 1, up))


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
