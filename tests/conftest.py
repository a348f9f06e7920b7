"""Every test runs on one thread from the same seed; without a GPU the kernels run in Triton's interpreter."""

import os
import sys
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when the kernels are imported
torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))  # the helper modules beside the tests


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def poisoned(monkeypatch):
    """Whatever a launcher allocates starts as NaN."""
    original = torch.Tensor.new_empty

    def new_nan(self, *args, **kwargs):
        new = original(self, *args, **kwargs)
        return new.fill_(float("nan")) if new.is_floating_point() else new

    monkeypatch.setattr(torch.Tensor, "new_empty", new_nan)
