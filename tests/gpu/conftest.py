"""A folder of decisions for each test of the backend "auto"."""

import pytest


@pytest.fixture
def empty_folder(monkeypatch, tmp_path):
    """Nothing is known, and decisions are kept in a folder of the test's own."""
    pytest.importorskip("triton")
    from auto_cases import fresh

    from fusedrnn.auto import known

    fresh(monkeypatch, tmp_path / "decisions")
    yield
    known.forget()
