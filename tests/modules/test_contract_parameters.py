"""Parameters as torch.nn's: initial values, names and lists, methods, and weights that are replaced or computed."""

import gc
import warnings

import pytest
import torch
from contract_cases import LAYERS, flat, total, twins
from torch import nn
from torch.nn.utils import parameters_to_vector, parametrizations, parametrize, prune, vector_to_parameters

from fusedrnn import FusedLSTM

X = torch.randn(5, 2, 3)
OPTIONS = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    {"num_layers": 3, "bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.5, "batch_first": True},
]
CASES = [(pair, options) for pair in LAYERS.values() for options in OPTIONS]
CASES += [(LAYERS["lstm"], {"proj_size": 2, **options}) for options in OPTIONS]
every_option = pytest.mark.parametrize(
    ("pair", "options"), CASES, ids=lambda p: repr(p) if isinstance(p, dict) else p[0].__name__
)


def seeded(kind, *args, **options):
    """A module made from seed 5, and the state of the generator after it."""
    torch.manual_seed(5)
    return kind(*args, **options), torch.get_rng_state()


def assert_same_parameters(a, b):
    assert list(a.state_dict()) == list(b.state_dict())
    assert [(n, p.shape, p.dtype) for n, p in a.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in b.named_parameters()
    ]
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@every_option
def test_a_seed_gives_torchs_parameters_and_again_on_reset(pair, options):
    (theirs, state), (ours, other) = (seeded(kind, 3, 4, **options) for kind in pair)
    assert_same_parameters(theirs, ours)
    assert torch.equal(state, other)
    bound = 4**-0.5
    assert all(bound / 2 < p.abs().max() <= bound for p in ours.parameters())
    for module in (theirs, ours):
        torch.manual_seed(6)
        module.reset_parameters()
    assert_same_parameters(theirs, ours)


def test_a_seed_gives_a_cell_torchs_parameters_and_again_on_reset(cells):
    (theirs, state), (ours, other) = (seeded(kind, 5, 7) for kind in cells)
    assert_same_parameters(theirs, ours)
    assert torch.equal(state, other)
    for cell in (theirs, ours):
        torch.manual_seed(6)
        cell.reset_parameters()
    assert_same_parameters(theirs, ours)


@every_option
def test_attributes_names_lists_and_repr_are_torchs(pair, options):
    theirs, ours = twins(pair, 3, 4, **options)
    for name in (*nn.RNNBase.__constants__, "_all_weights", "__constants__"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert isinstance(ours.dropout, float)
    assert isinstance(ours, nn.RNNBase)
    assert (
        list(ours.state_dict()) == list(theirs.state_dict()) == ours._flat_weights_names == theirs._flat_weights_names
    )
    assert ours.extra_repr() == theirs.extra_repr()
    assert repr(ours) == repr(theirs).replace(type(theirs).__name__, type(ours).__name__)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [(n, p.shape) for n, p in theirs.named_parameters()]
    assert all(p.requires_grad and p.is_contiguous() for p in ours.parameters())
    assert type(ours._flat_weights) is list
    assert all(a is b for a, b in zip(ours._flat_weights, ours.parameters(), strict=True))
    for row, names, expected in zip(ours.all_weights, ours._all_weights, theirs.all_weights, strict=True):
        assert all(weight is getattr(ours, name) for weight, name in zip(row, names, strict=True))
        assert [w.shape for w in row] == [w.shape for w in expected]


def test_methods_that_check_raise_what_torchs_raise(pair):
    theirs, ours = twins(pair, 3, 4, 2, bidirectional=True)
    h = torch.zeros(4, 2, 4)
    hx, bad = ((h, h), (h, h[:1])) if pair[1] is FusedLSTM else (h, h[:1])
    for module in (theirs, ours):
        module.check_input(X, None)
        module.check_forward_args(X, hx, None)
        module.check_hidden_size(h, module.get_expected_hidden_size(X, None))
        module.check_hidden_size(h, module.get_expected_hidden_size(X[0], torch.tensor([2, 1])))
        with pytest.raises(RuntimeError, match="must have 3 dimensions, got 2"):
            module.check_input(X[0], None)
        with pytest.raises(RuntimeError, match="Expected 3, got 2"):
            module.check_input(X[..., :2], None)
        with pytest.raises(ValueError, match="does not match weight dtype"):
            module.check_input(X.double(), None)
        with pytest.raises(RuntimeError, match="Expected hidden size"):
            module.check_hidden_size(h[:1], (4, 2, 4))
        with pytest.raises(RuntimeError, match="got"):
            module.check_forward_args(X, bad, None)


def test_expected_sizes_and_permuted_states_are_torchs(pair):
    theirs, ours = twins(pair, 3, 4, 2, bidirectional=True)
    h = torch.randn(4, 2, 4)
    hx = (h, h) if pair[1] is FusedLSTM else h
    assert ours.flatten_parameters() is None
    assert ours.permute_hidden(hx, None) is hx
    order = torch.tensor([1, 0])
    for got, expected in zip(flat(ours.permute_hidden(hx, order)), flat(theirs.permute_hidden(hx, order)), strict=True):
        assert torch.equal(got, expected)
    assert ours.get_expected_hidden_size(X, None) == theirs.get_expected_hidden_size(X, None)
    if pair[1] is FusedLSTM:
        assert ours.get_expected_cell_size(X, None) == theirs.get_expected_cell_size(X, None)


# weights that are replaced


def replaced_by_parameter(module, value):
    module.weight_hh_l0 = nn.Parameter(value)


def replaced_by_register(module, value):
    module.register_parameter("weight_hh_l0", nn.Parameter(value))


def replaced_by_dictionary(module, value):
    module._parameters["weight_hh_l0"] = nn.Parameter(value)


def replaced_by_data(module, value):
    module.weight_hh_l0.data = value


def replaced_by_plain_tensor(module, value):
    del module.weight_hh_l0
    module.weight_hh_l0 = value


REPLACE = [
    replaced_by_parameter,
    replaced_by_register,
    replaced_by_dictionary,
    replaced_by_data,
    replaced_by_plain_tensor,
]


@pytest.mark.parametrize("replace", REPLACE, ids=lambda f: f.__name__)
def test_a_replaced_weight_is_used_by_the_next_forward(pair, replace):
    module, fresh = pair[1](3, 4), pair[1](3, 4)
    fresh.load_state_dict(module.state_dict())
    value = torch.randn_like(module.weight_hh_l0)
    module(X)
    replace(module, value)
    with torch.no_grad():
        fresh.weight_hh_l0.copy_(value)
    torch.testing.assert_close(module(X)[0], fresh(X)[0])
    assert module._flat_weights[1] is module.weight_hh_l0


def test_assigned_weights_are_used_by_the_next_forward(pair):
    theirs, ours = twins(pair, 3, 4, 2)
    ours(X)
    new = {n: torch.randn_like(v) for n, v in ours.state_dict().items()}
    for module in (theirs, ours):
        module.load_state_dict({n: v.clone() for n, v in new.items()}, assign=True)
    assert all(a is b for a, b in zip(ours._flat_weights, ours.parameters(), strict=True))
    torch.testing.assert_close(ours(X)[0], theirs(X)[0])


def test_parameters_swapped_by_a_conversion_are_used_by_the_next_forward(pair):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        module = pair[1](3, 4)
        module(X)
        gc.collect()
        assert module.double() is module
        output, _ = module(X.double())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert output.dtype == torch.float64
    assert all(a is b for a, b in zip(module._flat_weights, module.parameters(), strict=True))


def test_vectors_of_parameters_are_read_and_written(pair):
    theirs, ours = twins(pair, 3, 4, 2)
    vector = torch.randn_like(parameters_to_vector(ours.parameters()).detach())
    for module in (theirs, ours):
        vector_to_parameters(vector, module.parameters())
    torch.testing.assert_close(ours(X)[0], theirs(X)[0])


def test_tied_weights_get_the_sum_of_gradients(pair, backend):
    tied, free = pair[1](4, 4, 2, backend=backend), pair[1](4, 4, 2, backend=backend)
    tied.weight_hh_l1 = tied.weight_hh_l0
    free.load_state_dict(tied.state_dict())
    x = torch.randn(5, 2, 4)
    for module in (tied, free):
        total(module(x)).backward()
    torch.testing.assert_close(tied.weight_hh_l0.grad, free.weight_hh_l0.grad + free.weight_hh_l1.grad)
    assert tied._flat_weights[5] is tied.weight_hh_l0


# weights that are computed


@pytest.mark.parametrize("name", ["orthogonal", "weight_norm", "spectral_norm"])
def test_a_parametrized_weight_is_used_and_passes_its_gradient_on(pair, name):
    module = pair[1](3, 4)
    getattr(parametrizations, name)(module, "weight_hh_l0")
    module.eval()
    plain = pair[1](3, 4)
    plain.load_state_dict({n: getattr(module, n) for n in plain.state_dict()})
    torch.testing.assert_close(module(X)[0], plain(X)[0])
    total(module(X)).backward()
    originals = [p for n, p in module.named_parameters() if "original" in n]
    assert originals
    assert all(p.grad.abs().sum() > 0 for p in originals)
    parametrize.remove_parametrizations(module, "weight_hh_l0")
    torch.testing.assert_close(module(X)[0], plain(X)[0])


@pytest.mark.parametrize("cudnn", [False, True], ids=["without cudnn", "with cudnn"])
def test_a_parametrization_is_computed_once_a_forward(pair, cudnn, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: cudnn)

    class Counted(nn.Module):
        calls = 0

        def forward(self, weight):
            Counted.calls += 1
            return weight * 2

    module = pair[1](3, 4)
    parametrize.register_parametrization(module, "weight_hh_l0", Counted())
    Counted.calls = 0
    module(X)
    assert Counted.calls == 1


def test_legacy_weight_norm_gets_its_gradient(pair):
    module = pair[1](3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module, "weight_hh_l0")
    total(module(X)).backward()
    assert module.weight_hh_l0_g.grad.any()


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_hh_l0"])
def test_a_pruned_weight_is_used_trains_and_becomes_permanent(pair, name):
    theirs, ours = twins(pair, 3, 4)
    masks = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        prune.random_unstructured(module, name, 0.5)
        masks.append(getattr(module, f"{name}_mask"))
        total(module(X)).backward()
    torch.testing.assert_close(ours(X)[0], theirs(X)[0])
    original = getattr(ours, f"{name}_orig")
    torch.testing.assert_close(original.grad, getattr(theirs, f"{name}_orig").grad)
    assert not original.grad[masks[1] == 0].any()
    prune.remove(ours, name)
    assert isinstance(getattr(ours, name), nn.Parameter)
    torch.testing.assert_close(ours(X)[0], theirs(X)[0])
