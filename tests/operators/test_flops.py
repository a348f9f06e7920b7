"""Operation counts: those of the operators are the products that run inside them, and those of a module are the reference's."""

import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN
from fusedrnn.operators import flops
from fusedrnn.operators import sweep as ops

T, B, I, H = 5, 3, 7, 6
KINDS = {
    "gru": (FusedGRU, {}, 3),
    "gru_before": (FusedGRU, {"reset_after": False}, 3),
    "lstm": (FusedLSTM, {}, 4),
    "rnn": (FusedRNN, {}, 1),
}
"""Module, options and gates of each cell."""
INPUTS = ("x", "x without gradient", "ids")


def in_place(_self, a, b, **_):
    """The formula of addmm_, which torch's registry lacks."""
    return 2 * a[0] * a[1] * b[1]


class Inside(TorchDispatchMode):
    """Runs our operators' implementations, and counts the products in them."""

    IMPLEMENTATIONS = {  # noqa: RUF012
        torch.ops.fusedrnn.sweep: ops.sweep._init_fn,
        torch.ops.fusedrnn.sweep_backward: ops.sweep_backward._init_fn,
    }

    def __init__(self):
        super().__init__()
        self.counts = dict.fromkeys(self.IMPLEMENTATIONS, 0)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        packet = function.overloadpacket
        if packet not in self.counts:
            return function(*args, **(kwargs or {}))
        with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
            results = self.IMPLEMENTATIONS[packet](*args)
        self.counts[packet] += counter.get_total_flops()
        return results


def given(kind, form="x", lengths=None, directions=1, layers=1):
    """Keyword arguments of a call whose states need gradients."""
    x = torch.randint(0, I, (T, B)) if form == "ids" else torch.randn(T, B, I, requires_grad=form == "x")
    h, c = (torch.randn(layers * directions, B, H, requires_grad=True) for _ in range(2))
    return {"input": x, "hx": (h, c) if kind is FusedLSTM else h, "lengths": lengths}


def step(module, arguments):
    output, *_ = module(**arguments, return_all_states=True)  # not torch's functions
    output.sum().backward()


def count(run, *args):
    with FlopCounterMode(display=False) as counter:
        run(*args)
    return counter.get_total_flops()


@pytest.mark.parametrize("memory", ["save", "recompute"])
@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize("padded", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", KINDS)
def test_an_operator_counts_the_products_inside_it(cell, directions, padded, form, memory):
    kind, options, _ = KINDS[cell]
    module = kind(I, H, 2, bidirectional=directions == 2, memory=memory, backend="aten", **options)
    arguments = given(kind, form, torch.tensor([2, 5, 1]) if padded else None, directions, 2)
    with Inside() as inside:
        step(module, arguments)
    with FlopCounterMode(display=False) as counter:
        step(module, arguments)
    assert all(inside.counts.values())
    assert counter.get_flop_counts()["Global"] == inside.counts


@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize(("directions", "layers"), [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("cell", KINDS)
def test_a_training_step_counts_the_references_products(cell, directions, layers, form):
    kind, options, _ = KINDS[cell]
    counts = []
    for backend in ("aten", "reference"):
        module = kind(I, H, layers, bidirectional=directions == 2, backend=backend, **options)
        counts.append(count(step, module, given(kind, form, torch.tensor([2, 5, 1]), directions, layers)))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("cell", KINDS)
def test_a_training_step_counts_the_products_by_hand(cell):
    kind, options, G = KINDS[cell]
    inputs, recurrent = 2 * T * B * 2 * G * H * I, 2 * T * B * 2 * G * H * H
    expected = {
        ("save", "x"): 3 * inputs + 3 * recurrent,
        ("save", "x without gradient"): 2 * inputs + 3 * recurrent,
        ("save", "ids"): 3 * recurrent,
        ("recompute", "x"): 4 * inputs + 4 * recurrent,
        ("recompute", "ids"): 4 * recurrent,
    }
    for (memory, form), products in expected.items():
        module = kind(I, H, bidirectional=True, memory=memory, **options)
        assert count(step, module, given(kind, form, directions=2)) == products


def test_frozen_weights_count_for_their_products_are_computed():
    gru = FusedGRU(I, H)
    trained = count(step, gru, given(FusedGRU))
    assert count(step, gru.requires_grad_(False), given(FusedGRU)) == trained


@pytest.mark.parametrize("grad", [True, False], ids=["with graph", "without"])
def test_a_forward_counts_the_forwards_products_only(grad):
    with torch.set_grad_enabled(grad):
        found = count(lambda: FusedGRU(I, H, memory="recompute")(torch.randn(T, B, I)))
    assert found == 2 * T * B * 3 * H * (I + H)


def test_a_projection_is_counted_by_its_own_products_around_the_sweep():
    P, D = 2, 2
    lstm = FusedLSTM(I, H, bidirectional=True, proj_size=P)
    h, c = torch.randn(D, B, P, requires_grad=True), torch.randn(D, B, H, requires_grad=True)
    arguments = {"input": torch.randn(T, B, I, requires_grad=True), "hx": (h, c), "lengths": None}
    sweep = 2 * T * B * D * 4 * H * H
    initial, weights = 2 * B * D * 4 * H * P, 2 * D * 4 * H * P * H  # W_hh h_0, W_hh W_hr
    around = 2 * T * B * D * (4 * H * I + H * P) + initial + weights
    final = 2 * B * D * H * P  # of the last state, which the loss does not use
    assert count(step, lstm, arguments) == 3 * (sweep + around) + final


@pytest.mark.parametrize("cell", KINDS)
def test_the_kernels_count_as_the_unrolled_operators(cell):
    pytest.importorskip("triton")
    kind, options, _ = KINDS[cell]
    for memory, form in itertools.product(("save", "recompute"), INPUTS):
        arguments = given(kind, form)
        found = [count(step, kind(I, H, memory=memory, backend=b, **options), arguments) for b in ("triton", "aten")]
        assert found[0] == found[1] > 0


@pytest.mark.parametrize("kind", [nn.LSTM, FusedLSTM])
def test_torchs_lstm_on_a_cpu_is_counted_for_each_layer_and_direction(kind):
    """oneDNN computes the gradient of the input whether needed or not; float64, which it does not run, takes torch's products."""
    lstm, x = kind(I, H, 2, bidirectional=True), torch.randn(T, B, I)
    forward = 2 * T * B * 2 * 4 * H * ((I + H) + (2 * H + H))
    assert count(lambda: lstm(x)) == count(lambda: lstm.double()(x.double())) == forward
    lstm.float()
    assert count(lambda: lstm(x)[0].sum().backward()) == 3 * forward


def test_a_formula_that_is_registered_already_stays(monkeypatch):
    theirs = {torch.ops.aten.mkldnn_rnn_layer: lambda *_, **__: 17, torch.ops.fusedrnn.sweep: lambda *_, **__: 5}
    monkeypatch.setattr(flop_counter, "flop_registry", dict(theirs))
    flops.register(flop_counter)
    assert theirs.items() < flop_counter.flop_registry.items()
    assert torch.ops.fusedrnn.sweep_backward in flop_counter.flop_registry


USE = """
found = FlopCounterMode(display=False)
with found:
    fusedrnn.FusedGRU(3, 4, memory="recompute")(torch.ones(2, 2, 3))
assert found.get_total_flops() == 2 * 2 * 2 * 12 * 7, found.get_total_flops()
"""
ORDERS = {
    "counter after": """
import sys, torch, fusedrnn, importlib.util
assert "torch.utils.flop_counter" not in sys.modules
importlib.util.find_spec("torch.utils.flop_counter")
from torch.utils.flop_counter import FlopCounterMode
""",
    "counter before": "import torch\nfrom torch.utils.flop_counter import FlopCounterMode\nimport fusedrnn\n",
    "counter again": """
import importlib, fusedrnn, torch, torch.utils.flop_counter
FlopCounterMode = importlib.reload(torch.utils.flop_counter).FlopCounterMode
""",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_imports_in_any_order_register_and_importing_ours_imports_no_counter(order):
    done = subprocess.run([sys.executable, "-c", order + USE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
