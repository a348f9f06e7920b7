"""Shared by the tests of the backend "auto" on a GPU: an empty folder of decisions, forced decisions, a CPU taken for a GPU."""

import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from gpu_cases import DEVICE, module
from pretended_gpu import reset, take_a_cpu_for_a_gpu

from fusedrnn.auto import known, parity, settings, trial

ROOT = Path(__file__).parents[2]
SIZES = (32, 64, 8, 16)
"""I, H, T, B."""
DTYPE = torch.bfloat16
FORCED = {"triton": 0.0, "aten": 1e9}
"""By backend, how much faster the kernels have to be so that it is chosen; 0 also takes the last rows that are tried."""


def fresh(monkeypatch, folder):
    """Forget all decisions and settings; new decisions are kept in `folder`, and a measurement may take its time."""
    reset(monkeypatch, folder)
    monkeypatch.setenv(settings.BUDGET_VARIABLE, "300")


def force(monkeypatch, backend, *, more_rows=0):
    """Let measurements end with a backend unless a result is wrong, after `more_rows` rows have been tried for each sweep."""
    monkeypatch.setattr(parity, "BUDGET", 100.0)
    monkeypatch.setattr(parity, "ELEMENT_BUDGET", 100.0)
    monkeypatch.setattr(trial, "GAIN", FORCED[backend])
    monkeypatch.setattr(trial, "HOPELESS", float("inf"))
    monkeypatch.setattr(trial, "MORE_ROWS", more_rows)


def pretend_a_gpu(monkeypatch):
    """Have "auto" measure the calls on a CPU too, tiny ones of `given`; times are taken once."""
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "SIZES", (3, 5, 3, 2))
    monkeypatch.setattr(here, "DTYPE", torch.float32)
    take_a_cpu_for_a_gpu(monkeypatch)


def decisions():
    """What this process knows."""
    return list(known.by_kind.values())


def only_kind():
    """The one kind of call that this process knows a decision for."""
    ((_, kind),) = known.by_kind
    return kind


@contextmanager
def told_of_a_wrong_result():
    """Check that the block warns of a wrong result. Other warnings, such as numpy's in the interpreter, are ignored."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert any("gave a wrong result" in str(warning.message) for warning in caught)


def run_python(*arguments, **environment):
    """A Python process that finds the package and the helpers of the tests."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers"), *sys.path])
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": paths, **environment}, cwd=ROOT,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def given(cell="lstm", **options):
    """A module on the backend "auto", its input, and an upstream gradient of its output."""
    I, H, T, B = SIZES
    net = module(cell, I, H, DTYPE, None, **options)
    x, up = (torch.randn(T, B, width, device=DEVICE).to(DTYPE) for width in (I, H))
    return net, x, up


def equal(first, second):
    """Whether all tensors have the same bits."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def measurements(caplog):
    """The lines of the log that say what was measured."""
    return [record.getMessage() for record in caplog.records if "measured in" in record.getMessage()]


def forbid_measurements(monkeypatch):
    """Have a measurement raise an error."""

    def measure(*_):
        raise AssertionError("expected no measurement, got one")

    monkeypatch.setattr(trial, "measure", measure)
