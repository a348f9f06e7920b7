"""Devices without kernels of ours: the modules run there on plain torch operators and agree with the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from device_cases import CASES

from fusedrnn import functional
from fusedrnn.backends.torch_rnn import runs_on
from fusedrnn.context import autocast_dtype

ROOT = Path(__file__).parents[2]
OPERATORS = ("dropout", "bias_relu_dropout", "bias_relu_dropout_gradient", "sweep", "sweep_backward")


@pytest.fixture(scope="module")
def other():
    """What `tests/helpers/other_device_run.py` found."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    program = ROOT / "tests/helpers/other_device_run.py"
    run = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("case", CASES)
def test_a_device_of_another_package_agrees_with_the_cpu(other, case):
    found = other["cases"][case]
    assert "error" not in found, found["error"]
    assert found["devices"] == ["other:0"]
    assert found["difference"] < 2e-5  # float32: the operators add in other orders


def test_our_operators_ran_there(other):
    assert {f"fusedrnn::{name}" for name in OPERATORS} <= set(other["operators"])


def test_plain_operators_are_chosen_there_unless_torch_has_a_kernel(other):
    assert other["engines"] == ["unrolled"] * 3
    assert other["with a kernel"] == [False, True, False]


@pytest.mark.parametrize(
    ("interpret", "expected"),
    [("1", "tensors on a CUDA device, got other:0"), ("0", "a CUDA device, got none")],
    ids=["interpreter", "no interpreter"],
)
def test_the_kernels_refuse_the_device_in_words(other, interpret, expected):
    pytest.importorskip("triton")
    for found in other["refusals"][interpret]:
        start = "BackendUnavailableError: backend 'triton' cannot serve this call: expected"
        assert found["error"].startswith(f"{start} {expected}")


def test_every_bit_of_a_seed_is_random_there(other):
    assert len(other["bits"]) == 64
    assert all(0.4 < share < 0.6 for share in other["bits"])  # of 1000 seeds: six standard deviations


def test_autocast_is_off_there(other):
    assert other["autocast"] is None


@pytest.mark.parametrize("key", ["CPU", "CUDA", "MPS", "XPU", "HPU", "PrivateUse1"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_there_on_every_device(name, key):
    assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"fusedrnn::{name}", key)
    assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"fusedrnn::{name}", f"Autograd{key}")


@pytest.mark.parametrize("kind", ["vulkan", "meta", "lazy", "mps", "xpu"])
def test_autocast_can_be_asked_for_on_any_device(kind):
    assert autocast_dtype(torch.device(kind)) is None


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps", "xpu", "meta"])
def test_devices_of_torch_itself_run_its_functions(kind):
    assert runs_on(torch.device(kind), "gru")
    assert runs_on(torch.device(kind), "lstm")


def test_seeds_of_the_cpu_are_one_draw_of_the_whole_range():
    torch.manual_seed(3)
    x = torch.ones(1000)
    y = functional.dropout(x, 0.5, backend="aten")
    torch.manual_seed(3)
    seed = torch.randint(-(1 << 63), (1 << 63) - 1, (1,))
    assert torch.equal(y, torch.ops.fusedrnn.dropout("plain", x, 0.5, seed, 0))
