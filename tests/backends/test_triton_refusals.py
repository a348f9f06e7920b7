"""What the backend of the kernels refuses by the sizes of a GPU, of which the tests pretend to have one."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton")

from fusedrnn.backends import triton
from fusedrnn.kernels import launch

GPU = torch.device("cuda", 0)


@pytest.fixture(params=[80, 90, 120])
def pretended(request, monkeypatch):
    """A GPU of a compute capability and 100 multiprocessors."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: divmod(request.param, 10))
    monkeypatch.setattr(launch, "capacity", lambda device: 100)
    triton._unserved.cache_clear()
    yield
    triton._unserved.cache_clear()


def call(H, cell="lstm", layer_norm=True):
    """What `refuse` reads of a call."""
    given = SimpleNamespace(is_cuda=True, device=GPU, dtype=torch.bfloat16)
    weights = SimpleNamespace(flat=[torch.empty(0, dtype=torch.bfloat16)])
    spec = SimpleNamespace(cell=cell, hidden_size=H, layer_norm=layer_norm)
    return SimpleNamespace(has_extras=layer_norm, input=given, spec=spec, weights=weights)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_layer_norm_of_units_whose_programs_do_not_run_at_once_is_refused(cell):
    assert triton.refuse(call(512, cell)) is None
    assert triton.refuse(call(1 << 15, cell)).startswith("expected fewer units with layer_norm=True")
    assert triton.refuse(call(1 << 15, cell, layer_norm=False)) is None


def test_a_gpu_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    triton._unserved.cache_clear()
    assert triton.refuse(call(64)) == "expected a GPU of compute capability 8.0 or above, got 7.5"
    triton._unserved.cache_clear()
