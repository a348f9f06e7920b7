"""Two calls are timed in turn, as often as there is time for."""

import pytest
import torch

from fusedrnn.auto import clock

CPU = torch.device("cpu")


def scripted(monkeypatch, times):
    """A clock that gives a call the next of its times, the last one for ever; the calls in order."""
    order = []

    def seconds(call, device):
        order.append(call)
        left = times[call]
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(clock, "seconds", seconds)
    return order


def test_medians_of_rounds_in_turn_without_the_first_runs(monkeypatch):
    order = scripted(monkeypatch, {"a": [9.0, 9.0, 1.0, 5.0, 2.0], "b": [9.0, 9.0, 3.0, 8.0, 4.0]})
    assert clock.compared("a", "b", CPU) == (2.0, 4.0)
    assert order == ["a", "a", "b", "b", "a", "b", "a", "b", "a", "b"]


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-6, 15), (0.01, 15), (0.0149, 10), (0.04, 3), (1.0, 3)])
def test_slow_calls_are_timed_less_often(monkeypatch, seconds, rounds):
    order = scripted(monkeypatch, {"a": [seconds], "b": [seconds]})
    clock.compared("a", "b", CPU)
    assert len(order) == 4 + 2 * rounds


def test_a_call_is_timed_once_on_a_cpu():
    calls = []
    assert 0 <= clock.seconds(lambda: calls.append(1), CPU) < 1
    assert calls == [1]
