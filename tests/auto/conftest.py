"""Fixtures of the tests of "auto": a pretended GPU, and files in a folder of the test."""

import pytest
import torch

pytest.importorskip("triton")

import pretended_gpu

from fusedrnn import FusedGRU
from fusedrnn.auto import known
from fusedrnn.kernels import launch

if not launch.INTERPRETED:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No settings, nothing known, an empty folder of decisions; returns that folder."""
    folder = tmp_path / "cache"
    pretended_gpu.reset(monkeypatch, folder)
    yield folder
    known.forget()


@pytest.fixture
def speeds(monkeypatch, fresh):
    """The clock of a pretended GPU."""
    return pretended_gpu.pretend(monkeypatch)


@pytest.fixture
def interpreted(monkeypatch, fresh):
    """The clock of a pretended GPU on which the kernels run, in the interpreter."""
    return pretended_gpu.pretend(monkeypatch, interpreted=True)


@pytest.fixture
def net():
    """A small GRU, and an input for it."""
    return FusedGRU(3, 5), torch.randn(2, 2, 3)
