"""Every test runs on one thread from the same seed; without a GPU the kernels run in Triton's interpreter."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when the kernels are imported
torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

NEEDS = {
    "hypothesis": ["modules/test_properties.py", "operators/test_packing.py"],
    "expecttest": ["modules/test_torch_module_infos.py"],
    "onnxruntime": ["modules/test_onnx.py"],
    "opacus": ["modules/test_private_training.py"],
    "tqdm": ["examples/test_*.py"],
}
"""Files that import what `make setup` installs and a GPU machine with nothing but torch, pandas and matplotlib may lack."""
MISSING = [package for package in NEEDS if find_spec(package) is None]
collect_ignore_glob = [pattern for package in MISSING for pattern in NEEDS[package]]


def pytest_report_header():
    """Say what is not collected, and why."""
    return [f"not installed: {package}; not collected: {', '.join(NEEDS[package])}" for package in MISSING]


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
