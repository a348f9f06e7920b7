"""The number of kernels of a training step does not depend on the length of the sequence."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton")

from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.kernels import launch
from fusedrnn.operators import sweep as ops

pytestmark = pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU the profiler counts launches")


class Operators(TorchDispatchMode):
    """Lists the torch operators that launch a kernel on a GPU, also inside our operators: no views, no uninitialised memory."""

    INSIDE = {  # noqa: RUF012
        torch.ops.fusedrnn.sweep.default: ops.sweep._init_fn,
        torch.ops.fusedrnn.sweep_backward.default: ops.sweep_backward._init_fn,
    }
    FREE = ("empty", "empty_like", "new_empty", "_local_scalar_dense")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        with self:
            found = self.INSIDE.get(function, function.decompose)(*args, **(kwargs or {}))
        if found is not NotImplemented:
            return found
        name = function.overloadpacket.__name__
        if not function.is_view and name not in self.FREE:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def counted(monkeypatch, net, T, capacity):
    """Sweep launches and torch operators of one training step; the sweeps themselves are not run."""
    sweeps, x = [], torch.zeros(T, 4, 8)
    monkeypatch.setattr(launch, "capacity", lambda device: capacity)
    monkeypatch.setattr(launch, "start", lambda kernel, programs, *rest: sweeps.append(programs))
    upstream = torch.ones_like(net(x)[0])
    sweeps.clear()
    net.zero_grad()
    with Operators() as operators:
        output, _ = net(x)
        output.backward(upstream)
    operators.names.remove("clone")  # of the output, which users may overwrite on a CPU; on a GPU it is not copied
    return len(sweeps), Counter(operators.names)


OPERATORS = {("gru", 1): 18, ("gru", 2): 51, ("lstm", 1): 19, ("lstm", 2): 52}
"""Of a training step beside its sweeps, by cell and layers, the two in both directions."""


@pytest.mark.parametrize(("cell", "layers"), OPERATORS)
def test_launches_do_not_depend_on_the_steps(cell, layers, monkeypatch, capsys):
    kind = FusedGRU if cell == "gru" else FusedLSTM
    net = kind(8, 40, layers, bidirectional=layers == 2, backend="triton")
    (sweeps, operators), long = (counted(monkeypatch, net, T, capacity=132) for T in (100, 1000))
    with capsys.disabled():
        print(f"\n{cell}, {layers} layers: {sweeps} sweeps, {operators.total()} operators: {dict(operators)}")
    assert (sweeps, operators) == long
    assert sweeps == 2 * layers  # both directions of a layer are one launch, forward and backward
    assert operators.total() == OPERATORS[cell, layers]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_layer_without_biases_sums_no_gradients_of_them(cell, monkeypatch):
    kind = FusedGRU if cell == "gru" else FusedLSTM
    _, biased = counted(monkeypatch, kind(8, 40, backend="triton"), 100, capacity=132)
    _, plain = counted(monkeypatch, kind(8, 40, bias=False, backend="triton"), 100, capacity=132)
    assert biased - plain == Counter({"addmm": 1, "sum": 1, "clone": 1} | ({"cat": 1} if cell == "gru" else {}))


def test_one_direction_stacks_nothing_where_gates_are_formed_again(monkeypatch):
    _, operators = counted(monkeypatch, FusedGRU(8, 40, memory="recompute", backend="triton"), 100, capacity=132)
    assert operators["stack"] == 0


def test_the_gradient_of_a_projected_layers_gates_is_not_copied(monkeypatch):
    """The clones: W_hh W_hr transposed, the state that is returned, and the gradient that both biases share."""
    _, operators = counted(monkeypatch, FusedLSTM(8, 40, proj_size=5, backend="triton"), 100, capacity=132)
    assert operators["clone"] == 3


def test_a_second_exchange_takes_one_kernel_more_which_fills_its_buffer(monkeypatch):
    sweeps, before = counted(monkeypatch, FusedGRU(8, 40, reset_after=False, backend="triton"), 100, capacity=132)
    _, after = counted(monkeypatch, FusedGRU(8, 40, backend="triton"), 100, capacity=132)
    assert sweeps == 2
    assert before["fill_"] == after["fill_"] + 1 == 3


def test_rows_that_are_no_whole_loads_are_copied_once_each_way(monkeypatch):
    (_, ragged), (_, whole) = (
        counted(monkeypatch, FusedGRU(8, H, backend="triton"), 100, capacity=132) for H in (41, 40)
    )
    assert ragged - whole == Counter({"clone": 2})


@pytest.mark.parametrize("after", [True, False], ids=["one phase", "two phases"])
def test_where_programs_may_not_wait_every_phase_is_a_launch(after, monkeypatch):
    net = FusedGRU(8, 70, reset_after=after, backend="triton")
    phases = 100 if after else 200
    assert counted(monkeypatch, net, 100, capacity=2)[0] == phases + phases + 1
