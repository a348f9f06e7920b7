"""`heads=` of the modules: N layers of torch.nn side by side, states, state dicts, dtypes, copies, replacing."""

import copy
import itertools
import pickle

import pytest
import torch
from contract_cases import LAYERS, tensors, total
from head_cases import B, H, I, N, build, gates_of, x_of
from torch import nn

from fusedrnn import FusedGRU, FusedLSTM, InitialState, functional, replace_rnns, restore_rnns

BACKENDS = ("reference", "aten", None, pytest.param("triton", marks=pytest.mark.slow))
FUNCTIONS = {"gru": functional.gru, "lstm": functional.lstm, "rnn": functional.rnn}


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


@pytest.fixture(params=LAYERS)
def name(request):
    return request.param


def head(module, theirs, k, suffix):
    """Give a layer of torch.nn the weights of head k, as views of `module`'s."""
    for kind in ("weight_ih", "bias_ih", "bias_hh", "weight_hh"):
        full = getattr(module, f"{kind}_{suffix}")
        own = full[k] if kind == "weight_hh" else full.unflatten(0, (-1, N, H // N))[:, k].flatten(0, 1)
        parametrize_as(theirs, f"{kind}_{suffix}", own)


def parametrize_as(module, name, value):
    """Make a weight a tensor that another module's gradients flow to."""
    delattr(module, name)
    setattr(module, name, value)


@pytest.mark.parametrize("two", [False, True], ids=["one way", "two ways"])
def test_the_heads_are_layers_of_torch_side_by_side(name, two, backend):
    module, x = build(name, bidirectional=two, backend=backend), x_of()
    ways = 1 + two
    states = [torch.randn(ways, B, H, dtype=torch.float64) for _ in range(2 if name == "lstm" else 1)]
    outputs, finals = [], []
    for k in range(N):
        theirs = LAYERS[name][1](I, H // N, bidirectional=two, backend="reference")
        for suffix in ("l0", "l0_reverse")[:ways]:
            head(module, theirs, k, suffix)
        own = tuple(state.chunk(N, -1)[k] for state in states)
        output, last = theirs(x, own if name == "lstm" else own[0])
        outputs.append(output.unflatten(-1, (ways, -1)))
        finals.append(tensors(last))
    expected = [torch.cat(outputs, -1).flatten(2), *(torch.cat(parts, -1) for parts in zip(*finals, strict=True))]
    found = tensors(module(x, tuple(states) if name == "lstm" else states[0]))
    leaves = [x, *module.parameters()]
    both = [[*r, *torch.autograd.grad(total(r), leaves)] for r in (found, expected)]
    torch.testing.assert_close(*both, rtol=1e-10, atol=1e-11)


def test_the_state_dict_of_heads_is_put_together_from_layers_of_torch(name, backend):
    each = [LAYERS[name][0](I, H // N, dtype=torch.float64) for _ in range(N)]
    module = build(name, backend=backend)
    joined = {"weight_hh_l0": torch.stack([net.weight_hh_l0 for net in each])}
    for key in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        parts = [getattr(net, key).unflatten(0, (gates_of(module), -1)) for net in each]
        joined[key] = torch.cat(parts, 1).flatten(0, 1)
    module.load_state_dict(joined)
    x = x_of()
    torch.testing.assert_close(module(x)[0], torch.cat([net(x)[0] for net in each], -1))


def test_a_head_sees_no_state_of_another(name, backend):
    module, x = build(name, 3, backend=backend), x_of()
    states = tuple(torch.randn(1, B, H, dtype=torch.float64, requires_grad=True) for _ in range(1 + (name == "lstm")))
    output, _ = module(x, states if name == "lstm" else states[0])
    for k in range(3):
        for gradient in torch.autograd.grad(output[..., 2 * k : 2 * k + 2].sum(), states, retain_graph=True):
            reached = gradient.unflatten(-1, (3, 2)).any(-1).any(0).any(0)
            assert reached.tolist() == [j == k for j in range(3)]


def test_one_head_is_torchs_layer(name):
    torch.manual_seed(1)
    theirs = LAYERS[name][0](I, H, 2, bidirectional=True, dtype=torch.float64)
    ours = build(name, 1, num_layers=2, bidirectional=True)
    assert repr(ours) == repr(theirs).replace(type(theirs).__name__, type(ours).__name__)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    x = x_of()
    torch.testing.assert_close(tensors(ours(x)), tensors(theirs(x)), rtol=1e-12, atol=1e-13)


def test_copies_pickles_and_state_dicts_have_the_heads(name):
    module, x = build(name, num_layers=2), x_of()
    loaded = LAYERS[name][1](I, H, 2, heads=N, dtype=torch.float64)
    loaded.load_state_dict(module.state_dict())
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
        assert repr(other) == repr(module)
        assert ", heads=2" in repr(other)
        assert all(map(torch.equal, tensors(other(x)), tensors(module(x))))


def test_a_state_dict_of_other_heads_is_refused_by_its_shapes(name):
    module = build(name)
    for other in (build(name, 1), build(name, 3)):
        for a, b in itertools.permutations([module, other]):
            with pytest.raises(RuntimeError, match="size mismatch for weight_hh_l0"):
                a.load_state_dict(b.state_dict())


def test_initial_states_are_those_of_all_units(name, backend):
    module = build(name, 3, num_layers=2, bidirectional=True, backend=backend)
    initial = InitialState(module)
    assert {state.shape for state in initial.parameters()} == {(4, H)}
    x = x_of()
    gradients = torch.autograd.grad(total(module(x, initial(x))), list(initial.parameters()))
    assert all(gradient.all() for gradient in gradients)
    assert all(map(torch.equal, tensors(module(x, initial(x))), tensors(module(x))))  # they start as zeros


def test_the_functions_take_weights_of_heads(name, backend):
    module, x = build(name, num_layers=2, bidirectional=True, backend=backend), x_of()
    layers = module._weights().layers
    assert layers[1][1].w_hh is module.weight_hh_l1_reverse
    found = FUNCTIONS[name](x, None, layers, backend=backend, return_all_states=True)
    assert all(map(torch.equal, tensors(found), tensors(module(x, return_all_states=True))))


def test_gradients_of_gradients_equal_finite_differences(name):
    module = LAYERS[name][1](2, 2, heads=2, backend="aten", dtype=torch.float64)
    x = torch.randn(2, 1, 2, dtype=torch.float64, requires_grad=True)

    def call(x, *weights):
        names = [key for key, _ in module.named_parameters()]
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))[0]

    assert torch.autograd.gradgradcheck(call, (x, *module.parameters()))


@pytest.mark.parametrize("backend", ["reference", "aten", None])
def test_dtypes_are_torchs_also_under_autocast(name, backend):
    module, x = build(name, backend=backend), x_of()
    exact = tensors(module(x))
    for got, want in zip(tensors(module.bfloat16()(x.bfloat16())), exact, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), want, rtol=0, atol=0.05)
    module, theirs = build(name, backend=backend, dtype=torch.float32), LAYERS[name][0](I, H)
    with torch.autocast("cpu", torch.bfloat16):
        for got, want in zip(tensors(module(x.float())), tensors(theirs(x.float())), strict=True):
            assert got.dtype == want.dtype


def test_it_is_replaced_by_nothing_and_says_so():
    model = nn.ModuleDict({"a": FusedGRU(I, H, heads=3), "b": FusedLSTM(I, H)})
    report = restore_rnns(model)
    assert report.left == {"a": "torch.nn has no heads=3"}
    assert report.changed == {"b": "FusedLSTM -> LSTM"}
    assert replace_rnns(model).changed == {"b": "LSTM -> FusedLSTM"}
