"""replace_rnns replaces torch.nn's recurrent modules in place and lists what it left; restore_rnns undoes it exactly."""

import copy
import pickle
import warnings

import pytest
import torch
from contract_cases import tensors, total
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, replace_rnns, restore_rnns

X = torch.randn(5, 2, 3)


class Model(nn.Module):
    """One of each, one of them shared, one in a plain list."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, 2, batch_first=True, dropout=0.5, bidirectional=True)
        self.lstm = nn.LSTM(8, 5, bias=False, proj_size=2)
        self.cells = nn.ModuleList([nn.GRUCell(2, 3), nn.LSTMCell(3, 4)])
        self.shared = self.lstm
        self.hidden = [self.gru]
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        y, _ = self.gru(x)
        y, _ = self.shared(y)
        h = self.cells[0](y.flatten(0, 1))
        h, c = self.cells[1](h)
        return self.out(h + c)


def parameters(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def step(model, optimizer, x):
    optimizer.zero_grad()
    total(model(x)).backward()
    optimizer.step()


def test_every_kind_is_replaced_once_and_reported():
    model = Model()
    report = replace_rnns(model)
    assert report.changed == {
        "gru": "GRU -> FusedGRU",
        "lstm, shared": "LSTM -> FusedLSTM",
        "cells.0": "GRUCell -> FusedGRUCell",
        "cells.1": "LSTMCell -> FusedLSTMCell",
    }
    assert report.left == {}
    assert str(report).splitlines()[1] == "lstm, shared: LSTM -> FusedLSTM"
    assert [type(m) for m in (model.gru, model.lstm, *model.cells)] == [
        FusedGRU,
        FusedLSTM,
        FusedGRUCell,
        FusedLSTMCell,
    ]
    assert model.shared is model.lstm
    assert model.hidden[0] is model.gru
    assert replace_rnns(model).changed == {}
    assert str(replace_rnns(nn.Linear(1, 1))) == "no recurrent modules"


def test_results_steps_and_the_optimizer_go_on():
    model = Model().eval()
    twin = copy.deepcopy(model)
    optimizers = [torch.optim.Adam(m.parameters()) for m in (model, twin)]  # made before
    step(model, optimizers[0], X)
    step(twin, optimizers[1], X)
    before, kept = model(X), dict(model.named_parameters())
    replace_rnns(model)
    torch.testing.assert_close(model(X), before, rtol=0, atol=1e-6)
    assert all(p is kept[n] for n, p in model.named_parameters())
    assert not model.gru.training
    for _ in range(3):
        step(model, optimizers[0], X)
        step(twin, optimizers[1], X)
    for (name, got), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    restored = restore_rnns(model)
    assert list(restored.changed) == ["gru", "lstm, shared", "cells.0", "cells.1"]
    assert [type(m) for m in (model.gru, model.lstm, *model.cells)] == [nn.GRU, nn.LSTM, nn.GRUCell, nn.LSTMCell]
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(X), twin(X))
    assert all(p is kept[n] for n, p in model.named_parameters())


def test_there_and_back_leaves_no_trace():
    model = Model()
    model(X)
    before = {n: {k: v for k, v in m.__dict__.items() if k != "_flat_weight_refs"} for n, m in model.named_modules()}
    state, text = torch.get_rng_state(), repr(model)
    replace_rnns(model)
    assert "_flat_weights" not in model.gru.__dict__
    restore_rnns(model)
    assert repr(model) == text
    assert torch.equal(torch.get_rng_state(), state)
    for name, module in model.named_modules():
        assert list(before[name]) == [k for k in module.__dict__ if k in before[name]], name
        assert set(module.__dict__) - {"_flat_weight_refs"} == set(before[name]), name
    assert all(a is b for a, b in zip(model.gru._flat_weights, model.gru.parameters(), strict=True))


@pytest.mark.parametrize(
    ("plain", "fused", "x"),
    [
        (nn.GRU, FusedGRU, X),
        (nn.LSTM, FusedLSTM, X),
        (nn.GRUCell, FusedGRUCell, X[0]),
        (nn.LSTMCell, FusedLSTMCell, X[0]),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_the_model_itself_may_be_recurrent(plain, fused, x):
    model = plain(3, 4)
    before = model(x)
    report = replace_rnns(model, backend="reference")
    assert type(model) is fused
    assert model.backend == "reference"
    assert str(report) == f"(root): {plain.__name__} -> {fused.__name__}"
    for got, expected in zip(tensors(model(x)), tensors(before), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    clone = pickle.loads(pickle.dumps(model))
    assert type(clone) is fused
    restore_rnns(model)
    assert all(torch.equal(a, b) for a, b in zip(tensors(model(x)), tensors(before), strict=True))


def test_hooks_stay():
    gru, seen = nn.GRU(3, 4), []
    gru.register_forward_pre_hook(lambda m, a: seen.append("before"))
    gru.register_forward_hook(lambda m, a, r: seen.append("after"))
    gru.register_full_backward_hook(lambda m, i, o: seen.append("backward"))
    gru.register_state_dict_pre_hook(lambda *a: seen.append("state"))
    gru.weight_hh_l0.register_hook(lambda g: seen.append("weight"))
    replace_rnns(gru)
    gru(X.clone().requires_grad_())[0].sum().backward()
    gru.state_dict()
    assert sorted(seen) == ["after", "backward", "before", "state", "weight"]


def normed(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module, "weight_hh_l0")


WAYS = {
    "weight_norm": lambda m: parametrizations.weight_norm(m, "weight_hh_l0"),
    "orthogonal": lambda m: parametrizations.orthogonal(m, "weight_hh_l0"),
    "legacy weight_norm": normed,
    "pruned": lambda m: prune.random_unstructured(m, "weight_hh_l0", 0.5),
    "tied": lambda m: setattr(m, "bias_hh_l0", m.bias_ih_l0),
}


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_weights_that_are_computed_go_on_being_computed(kind, way):
    module = kind(3, 4)
    way(module)
    before, names = module(X)[0].detach(), list(module.state_dict())
    total(module(X)).backward()
    grads = [p.grad.clone() for p in module.parameters()]
    replace_rnns(module)
    assert isinstance(module, FusedGRU | FusedLSTM)
    assert list(module.state_dict()) == names
    module.zero_grad()
    result = module(X)
    torch.testing.assert_close(result[0], before, rtol=0, atol=1e-6)
    total(result).backward()
    for got, expected in zip(module.parameters(), grads, strict=True):
        torch.testing.assert_close(got.grad, expected, rtol=1e-5, atol=1e-5)
    restore_rnns(module)
    assert isinstance(module, kind)
    assert torch.equal(module(X)[0], before)


def test_a_parametrization_can_be_removed_afterwards():
    gru = nn.GRU(3, 4)
    parametrizations.orthogonal(gru, "weight_hh_l0")
    before, _ = gru(X)
    replace_rnns(gru)
    parametrize.remove_parametrizations(gru, "weight_hh_l0")
    assert type(gru) is FusedGRU
    torch.testing.assert_close(gru(X)[0], before)


class Own(nn.GRU):
    def forward(self, x):
        return super().forward(x)[0]


class Started(nn.LSTM):
    def reset_parameters(self):
        super().reset_parameters()


class Deeper(Own):
    pass


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_what_is_left_is_reported_with_the_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao says that it moves elsewhere
        quantised = torch.ao.nn.quantized.dynamic.LSTM.from_float(with_qconfig(nn.LSTM(3, 4)))
    model = nn.ModuleDict(
        {
            "own": Own(3, 4),
            "deeper": Deeper(3, 4),
            "started": Started(3, 4),
            "projected": nn.GRU(3, 4, 1, True, False, 0.0, False, 2),
            "scripted": torch.jit.script(nn.GRU(3, 4)),
            "quantised": quantised,
            "linear": nn.Linear(3, 4),
        }
    )
    classes = {n: type(m) for n, m in model.items()}
    report = replace_rnns(model)
    assert report.changed == {}
    assert {n: type(m) for n, m in model.items()} == classes
    assert report.left == {
        "own": "Own is a subclass of nn.GRU with a forward of its own",
        "deeper": "Deeper is a subclass of nn.GRU with a forward of its own",
        "started": "Started is a subclass of nn.LSTM whose code may need its base",
        "projected": "a GRU with proj_size runs nowhere",
        "scripted": "GRU is compiled by torch.jit",
        "quantised": "LSTM is quantised",
    }
    assert "own: left, Own is a subclass" in str(report)


def with_qconfig(module):
    module.qconfig = torch.ao.quantization.default_dynamic_qconfig
    return module


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnns_keep_their_nonlinearity(nonlinearity):
    model = nn.ModuleDict({"layer": nn.RNN(3, 4, 2, nonlinearity), "cell": nn.RNNCell(4, 4, nonlinearity=nonlinearity)})
    x = torch.randn(5, 2, 3)
    expected = model["layer"](x)[0], model["cell"](torch.ones(2, 4))
    assert replace_rnns(model).changed == {"layer": "RNN -> FusedRNN", "cell": "RNNCell -> FusedRNNCell"}
    for _ in range(2):
        for got, want in zip((model["layer"](x)[0], model["cell"](torch.ones(2, 4))), expected, strict=True):
            torch.testing.assert_close(got, want)
        restored = restore_rnns(model).changed
    assert restored == {}
    assert [type(m) for m in model.values()] == [nn.RNN, nn.RNNCell]
    assert repr(model) == repr(
        nn.ModuleDict({"layer": nn.RNN(3, 4, 2, nonlinearity), "cell": nn.RNNCell(4, 4, True, nonlinearity)})
    )


def test_options_that_torch_lacks_are_not_restored_away():
    model = nn.ModuleList(
        [FusedGRU(3, 4, reset_after=False), FusedLSTM(3, 4, weight_dropout=0.5), FusedGRU(3, 4, backend="aten")]
    )
    report = restore_rnns(model)
    assert report.changed == {"2": "FusedGRU -> GRU"}
    assert report.left == {"0": "torch.nn has no reset_after=False", "1": "torch.nn has no weight_dropout=0.5"}
    assert type(model[0]) is FusedGRU
    assert not hasattr(model[2], "backend")


def test_an_unknown_backend_is_an_error_and_changes_nothing():
    gru = nn.GRU(3, 4)
    with pytest.raises(ValueError, match="expected one of auto"):
        replace_rnns(gru, backend="cudnn")
    assert type(gru) is nn.GRU


def test_a_compiled_wrapper_and_data_parallel_are_looked_into():
    torch.compiler.reset()
    inner = nn.GRU(3, 4)
    compiled = torch.compile(inner, backend="eager", fullgraph=True)
    assert replace_rnns(compiled).changed == {"_orig_mod": "GRU -> FusedGRU"}
    torch.testing.assert_close(compiled(X)[0], inner(X)[0])
