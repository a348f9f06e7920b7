"""A training step takes a number of kernels that does not depend on how many steps the sequence has."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton")

from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.kernels import launch

pytestmark = pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU the profiler counts launches")


class Operators(TorchDispatchMode):
    """Counts every torch operator; on a GPU each is at most a kernel or two."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def counted(monkeypatch, net, T, capacity):
    """Sweep launches and torch operators of one training step; the sweeps themselves are not run."""
    sweeps = []
    monkeypatch.setattr(launch, "capacity", lambda device: capacity)
    monkeypatch.setattr(launch, "start", lambda kernel, programs, *rest: sweeps.append(programs))
    operators = Operators()
    with operators:
        output, _ = net(torch.zeros(T, 4, 8))
        output.sum().backward()
    return len(sweeps), operators.count


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", [FusedGRU, FusedLSTM], ids=["gru", "lstm"])
def test_launches_do_not_depend_on_the_steps(cell, layers, monkeypatch, capsys):
    net = cell(8, 40, layers, bidirectional=layers == 2, backend="triton")
    short, long = (counted(monkeypatch, net, T, capacity=132) for T in (100, 1000))
    with capsys.disabled():
        print(f"\n{cell.__name__}, {layers} layers: {short[0]} sweeps, {short[1]} operators at T=100; {long} at T=1000")
    assert short == long
    assert short[0] == 2 * layers  # both directions of a layer are one launch, forward and backward


def test_where_programs_may_not_wait_every_step_is_a_launch(monkeypatch):
    net = FusedGRU(8, 70, backend="triton")
    assert counted(monkeypatch, net, 100, capacity=2)[0] == 100 + 101
