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
