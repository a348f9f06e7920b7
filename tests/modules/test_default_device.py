"""With another default device of torch, here meta, CPU tensors give the same results: no tensor of ours is made on that device."""

import ast
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from device_cases import CASES, H, I, layers
from torch import nn

from fusedrnn import FusedGRU, InitialState, functional, replace_rnns, restore_rnns
from fusedrnn.reference.optim import clip_gradients_

ROOT = Path(__file__).parents[2]
FACTORIES = {
    *("arange", "as_tensor", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "normal", "ones", "rand"),
    *("randint", "randn", "randperm", "range", "scalar_tensor", "tensor", "zeros", "Generator"),
}
CPU = torch.device("cpu")


@contextmanager
def set_default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


WAYS = {"set_default_device": set_default_device, "with torch.device": lambda: torch.device("meta")}


@pytest.fixture(params=WAYS)
def elsewhere(request):
    return WAYS[request.param]


def both(elsewhere, call):
    """The results of a call, without and with another default device."""
    found = []
    torch.manual_seed(0)
    found.append(call())
    torch.manual_seed(0)
    with elsewhere():
        found.append(call())
    assert {t.device for t in found[1]} == {CPU}
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients_are_the_same(case):
    both(set_default_device, lambda: CASES[case](CPU))


@pytest.mark.parametrize("form", ["packed", "lengths", "ids"])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_the_kernels_work_too(kind, form):
    pytest.importorskip("triton")
    options = {"backend": "triton", "num_layers": 2, "dropout": 0.4}
    both(set_default_device, lambda: layers(kind, options, form, CPU))


def test_the_kernels_of_dropout_work_too(elsewhere):
    pytest.importorskip("triton")
    x = torch.randn(4, I)
    both(elsewhere, lambda: [functional.dropout(x, 0.4, backend="triton")])
    both(elsewhere, lambda: [functional.bias_relu_dropout(x, x[0], 0.4, backend="triton")])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_bias_relu_dropout_under_torch_func(elsewhere, p):
    x = torch.randn(4, I)

    def loss(x):
        return functional.bias_relu_dropout(x, x[0], p).square().sum()

    both(elsewhere, lambda: [torch.func.grad(loss)(x)])


def test_sampled_masks_under_vmap(elsewhere):
    x = torch.randn(2, 4, I)
    drop = torch.func.vmap(lambda x: functional.dropout(x, 0.4), randomness="different")
    both(elsewhere, lambda: [drop(x)])


@pytest.mark.parametrize("learnable", [True, False])
def test_initial_states_are_where_the_module_is(elsewhere, learnable):
    module = FusedGRU(I, H)
    with elsewhere():
        initial = InitialState(module, learnable=learnable)
    assert initial.h_0.device == CPU


def test_replacing_and_restoring_leave_the_weights_where_they_are(elsewhere):
    model = nn.Sequential(nn.LSTM(I, H), nn.GRUCell(I, H))
    x = torch.randn(4, 2, I)
    expected = model[0](x)[0]
    with elsewhere():
        assert len(replace_rnns(model).changed) == 2
        torch.testing.assert_close(model[0](x)[0], expected)
        assert len(restore_rnns(model).changed) == 2
        torch.testing.assert_close(model[0](x)[0], expected)
    assert {parameter.device for parameter in model.parameters()} == {CPU}


def test_a_new_module_is_made_on_the_default_device_as_torch_makes_its_own(elsewhere):
    with elsewhere():
        assert next(FusedGRU(I, H).parameters()).is_meta
        assert next(nn.GRU(I, H).parameters()).is_meta


def test_the_norm_of_no_gradients(elsewhere):
    with elsewhere():
        assert clip_gradients_([nn.Parameter(torch.ones(1, device="cpu"))], 1.0).device == CPU


@pytest.mark.parametrize(
    "path", sorted(p for f in ("fusedrnn", "kernels", "reference") for p in (ROOT / f).rglob("*.py"))
)
def test_every_new_tensor_is_given_a_device(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    for call in calls:
        if ast.unparse(call.func) in {f"torch.{name}" for name in FACTORIES}:
            assert "device" in {keyword.arg for keyword in call.keywords}, f"line {call.lineno}: {ast.unparse(call)}"
