"""The error word of a launch is allocated before a CUDA graph is captured."""

import pytest
import torch

pytest.importorskip("triton")

from fusedrnn.kernels import launch

DEVICE = torch.device("cuda", 7)


@pytest.fixture
def allocated(monkeypatch):
    """Every allocation, none of which is pinned for real; no device has a word yet."""
    made, zeros = [], torch.zeros
    monkeypatch.setattr(launch, "_error_words", {})
    monkeypatch.setattr(
        torch, "zeros", lambda *size, pin_memory, **options: made.append(pin_memory) or zeros(*size, **options)
    )
    return made


def capturing(monkeypatch, answer):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: answer)


def test_the_error_word_is_cleared_outside_inference_mode_too(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(launch, "_error_words", {})
    with torch.inference_mode():
        launch.error_word(cpu)
    launch.error_word(cpu).fill_(3)
    with pytest.raises(launch.SweepTimeoutError, match="launch 3"):
        launch.check(cpu)
    launch.check(cpu)


def test_a_first_call_inside_a_capture_is_refused_before_anything_is_allocated(allocated, monkeypatch):
    capturing(monkeypatch, True)
    with pytest.raises(
        RuntimeError, match="expected a call of the kernels on cuda:7 before the first one that a CUDA graph"
    ):
        launch.check(DEVICE)
    assert allocated == []
    capturing(monkeypatch, False)
    launch.check(DEVICE)
    assert allocated == [True]


def test_a_captured_call_after_another_one_uses_its_word(allocated, monkeypatch):
    capturing(monkeypatch, False)
    word = launch.error_word(DEVICE)
    capturing(monkeypatch, True)
    launch.check(DEVICE)
    assert launch.error_word(DEVICE) is word
    assert allocated == [True]


def test_the_current_device_is_the_one_without_an_index(allocated, monkeypatch):
    capturing(monkeypatch, False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: DEVICE.index)
    launch.error_word(DEVICE).fill_(10**6)
    with pytest.raises(launch.SweepTimeoutError, match=r"^launch 1000000: expected every program to arrive"):
        launch.check(torch.device("cuda"))
    launch.check(DEVICE)


def test_a_cpu_is_not_asked_about_captures(allocated, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: pytest.fail("asked"))
    launch.check(torch.device("cpu"))
    assert allocated == [False]
