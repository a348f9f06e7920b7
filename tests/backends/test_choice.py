"""Which backend serves a call: argument, then use_backend, then FUSEDRNN_BACKEND, then auto; never a silent fallback."""

import threading

import pytest
import torch

import fusedrnn
from fusedrnn import BackendUnavailableError, FusedGRU, use_backend
from fusedrnn.backends import choice, dispatch
from fusedrnn.modules import base


@pytest.fixture
def served(monkeypatch):
    """The names of the backends that ran, in order."""
    names = []

    def noted(name, original):
        return lambda call: names.append(name) or original(call)

    for engine, original in dispatch.ENGINES.items():
        name = engine if engine in ("reference", "triton") else "aten"
        monkeypatch.setitem(dispatch.ENGINES, engine, noted(name, original))

    def directly(*args, original=base.run_directly):
        found = original(*args)
        if found is not None:
            names.append("aten")
        return found

    monkeypatch.setattr(base, "run_directly", directly)
    return names


def call(**options):
    return FusedGRU(3, 4, **options)(torch.randn(2, 2, 3))


def test_the_argument_beats_the_context_beats_the_environment(served, monkeypatch):
    call()
    monkeypatch.setenv("FUSEDRNN_BACKEND", "reference")
    call()
    with use_backend("aten"):
        call()
        with use_backend("reference"):
            call()
        call(backend="reference")
        call(backend="aten")
    call()
    assert served == ["aten", "reference", "aten", "reference", "reference", "aten", "reference"]


def test_auto_overrides_the_environment_too(served, monkeypatch):
    monkeypatch.setenv("FUSEDRNN_BACKEND", "reference")
    call(backend="auto")
    assert served == ["aten"]


def test_the_context_is_left_after_an_error_and_is_a_threads_own():
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert choice.requested(None) == "auto"
    seen = []
    with use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(choice.requested(None)))
        thread.start()
        thread.join()
    assert seen == ["auto"]


@pytest.mark.parametrize("how", ["argument", "context", "environment"])
def test_an_unknown_name_is_an_error_that_lists_the_known(how, monkeypatch):
    def by_context():
        with use_backend("cudnn"):
            call()

    if how == "environment":
        monkeypatch.setenv("FUSEDRNN_BACKEND", "cudnn")
    ask = {"argument": lambda: call(backend="cudnn"), "context": by_context, "environment": call}[how]
    with pytest.raises(ValueError, match="backend: expected one of auto, reference, aten, triton, got 'cudnn'"):
        ask()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal is that of a machine without a GPU")
def test_an_explicit_choice_that_cannot_serve_is_an_error_with_the_reason(served, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        BackendUnavailableError, match="backend 'triton' cannot serve this call: expected a CUDA device"
    ):
        call(backend="triton")
    assert served == []
    assert "CUDA" in fusedrnn.available_backends()["triton"]


def test_without_triton_the_package_imports_and_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert fusedrnn.available_backends() == {
        "reference": None,
        "aten": None,
        "triton": "expected the package triton, got none installed",
    }
