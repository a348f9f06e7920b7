"""Fixtures of the module tests: torch.nn's classes beside ours, and the backends."""

import pytest
from contract_cases import CELLS, LAYERS


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def pair(request):
    """torch.nn's layer and ours."""
    return request.param


@pytest.fixture(params=CELLS.values(), ids=CELLS)
def cells(request):
    """torch.nn's cell and ours."""
    return request.param


@pytest.fixture(params=[ours for _, ours in LAYERS.values()], ids=LAYERS)
def kind(request):
    """Our layer."""
    return request.param


@pytest.fixture(params=["reference", "aten"])
def backend(request):
    """The backends that need no interpreter on a CPU."""
    return request.param
