"""The weights of modules with heads: how they are drawn, initialised, pruned, dropped and not quantised."""

import pytest
import torch
from contract_cases import LAYERS, tensors
from head_cases import H, I, build, gates_of, x_of
from torch import nn
from torch.ao.quantization import default_dynamic_qconfig
from torch.nn.utils import parametrizations, parametrize, prune

from fusedrnn import FusedLSTM, InitialState, functional, init

BACKENDS = ("reference", "aten", None, pytest.param("triton", marks=pytest.mark.slow))


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


@pytest.fixture(params=LAYERS)
def name(request):
    return request.param


def test_weights_are_drawn_as_those_of_the_narrow_layer(name):
    module = LAYERS[name][1](40, 60, 2, bidirectional=True, heads=4)
    bound = 15**-0.5
    for redrawn in (False, True):
        if redrawn:
            module.reset_parameters()
        for weight in module.parameters():
            assert weight.abs().max() <= bound
            assert weight.abs().max() > 0.9 * bound
        assert module.weight_hh_l1_reverse.shape == (4, len(module.bias_hh_l0) // 4, 15)
    assert [key for key, _ in module.named_parameters()] == list(
        LAYERS[name][0](1, 1, 2, bidirectional=True).state_dict()
    )


@pytest.mark.parametrize("heads", [1, 2])
def test_only_weights_of_one_head_are_flattened_for_cudnn(name, heads, monkeypatch):
    module, flattened = build(name, heads), []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda module: flattened.append(module))
    module.flatten_parameters()
    assert flattened == ([module] if heads == 1 else [])


def test_initialisers_see_every_gate_of_every_head(name):
    module = build(name, 3)
    init.orthogonal_(module, 2.0)
    for block in module.weight_hh_l0.unflatten(1, (gates_of(module), -1)).flatten(0, 1):
        torch.testing.assert_close(block @ block.t(), 4 * torch.eye(2, dtype=torch.float64))
    if name == "rnn":
        return
    for initialise in (lambda: init.keep_bias_(module, 3.0), lambda: init.chrono_(module, 9)):
        others = module.bias_ih_l0.detach().clone()
        initialise()
        changed = (module.bias_ih_l0 != others).unflatten(0, (gates_of(module), H)).all(1)
        assert changed[1]
        assert not module.bias_hh_l0[H : 2 * H].any()


@pytest.mark.parametrize("weight", ["weight_ih_l0", "weight_hh_l0"])
def test_pruned_weights_and_those_with_norms_are_followed(name, weight, backend):
    def same(module):
        x, plain = x_of(), build(name)
        with torch.no_grad():
            for key in plain.state_dict():
                getattr(plain, key).copy_(getattr(module, key))
        torch.testing.assert_close(tensors(module(x)), tensors(plain(x)))

    module = build(name, backend=backend)
    prune.random_unstructured(module, weight, 0.5)
    assert (getattr(module, weight) == 0).sum() == getattr(module, weight).numel() // 2
    same(module)
    for norm in (parametrizations.weight_norm, parametrizations.spectral_norm):
        module = build(name, backend=backend)
        norm(module, weight)
        assert parametrize.is_parametrized(module, weight)
        same(module.eval())


@pytest.mark.parametrize("which", [("weight_ih_l0",), ("weight_ih_l0", "weight_hh_l0")], ids=["one", "both"])
def test_gates_are_counted_where_the_first_weight_is_pruned(name, which):
    module = build(name)
    for weight in which:
        prune.random_unstructured(module, weight, 0.5)
    initial = InitialState(module)
    assert (initial.c_0 is None) == (name != "lstm")
    module(x_of(), initial(x_of()))
    if name != "rnn":
        init.keep_bias_(module, 5.0)
        assert module.bias_ih_l0.unflatten(0, (gates_of(module), H))[1].eq(5).all()
    if len(which) == 1:
        init.orthogonal_(module)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_dropout_of_the_weights_drops_them_in_every_head(name, p, backend):
    module, x = build(name, weight_dropout=p, backend=backend or "aten"), x_of()
    torch.manual_seed(2)
    found = tensors(module(x))
    torch.manual_seed(2)
    dropped = functional.dropout(module.weight_hh_l0, p, backend="reference")
    assert (dropped == 0).flatten(1).any(1).all()
    plain = build(name, backend="reference")
    with torch.no_grad():
        plain.weight_hh_l0.copy_(dropped)
    torch.testing.assert_close(found, tensors(plain(x)))
    assert not torch.allclose(module.eval()(x)[0], found[0])


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.parametrize("options", [{"heads": 2}, {"zoneout": 0.2}, {"recurrent_dropout": 0.2}], ids=str)
def test_it_is_not_quantised_and_a_warning_says_why(options):
    module = FusedLSTM(I, H, **options)
    ((key, value),) = options.items()
    with pytest.warns(UserWarning, match=rf"^FusedLSTM is not quantised: torch\.nn has no {key}={value}$"):
        module.qconfig = default_dynamic_qconfig
    assert type(module) is FusedLSTM
