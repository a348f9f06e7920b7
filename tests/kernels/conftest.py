"""Fixtures of the kernel tests."""

import pytest


@pytest.fixture
def together(monkeypatch):
    """Run up to 64 programs of a launch concurrently in the interpreter."""
    from process_per_program import Concurrent  # which imports Triton

    from fusedrnn.kernels import launch

    def use(**options):
        concurrent = Concurrent(**options)
        monkeypatch.setattr(launch, "capacity", lambda device: 64)
        monkeypatch.setattr(launch, "start", concurrent)
        return concurrent

    return use
