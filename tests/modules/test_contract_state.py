"""Parameters and state: initialisation, introspection, copies, conversion, weights that change under the module."""

import copy
import gc
import io
import pickle

import pytest
import torch
from contract_cases import CELLS, LAYERS, flat, tensors, total, twins
from torch import nn
from torch.nn.utils import parameters_to_vector, prune, vector_to_parameters

from fusedrnn import FusedLSTM

X = torch.randn(5, 2, 3)
OPTIONS = [
    {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    {"num_layers": 3, "bias": False, "batch_first": True},
    {},
]
MADE = [(pair, options) for pair in LAYERS.values() for options in OPTIONS]
MADE += [(LAYERS["lstm"], {"proj_size": 2, **options}) for options in OPTIONS]


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def pair(request):
    return request.param


@pytest.fixture(params=CELLS.values(), ids=CELLS)
def cells(request):
    return request.param


def made(kind, *args, **options):
    torch.manual_seed(5)
    return kind(*args, **options), torch.get_rng_state()


def same_parameters(a, b):
    assert [(n, p.shape, p.dtype) for n, p in a.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in b.named_parameters()
    ]
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize(("pair", "options"), MADE, ids=lambda p: repr(p) if isinstance(p, dict) else p[0].__name__)
def test_a_seed_gives_torchs_parameters_and_again_on_reset(pair, options):
    (theirs, state), (ours, other) = (made(kind, 3, 4, **options) for kind in pair)
    same_parameters(theirs, ours)
    assert torch.equal(state, other)
    bound = 4**-0.5
    assert all(bound / 2 < p.abs().max() <= bound for p in ours.parameters())
    for module in (theirs, ours):
        torch.manual_seed(6)
        module.reset_parameters()
    same_parameters(theirs, ours)


def test_a_cell_resets_as_torchs(cells):
    theirs, ours = (kind(3, 4) for kind in cells)
    for cell in (theirs, ours):
        torch.manual_seed(6)
        cell.reset_parameters()
    same_parameters(theirs, ours)


@pytest.mark.parametrize(("pair", "options"), MADE, ids=lambda p: repr(p) if isinstance(p, dict) else p[0].__name__)
def test_names_lists_and_text_are_torchs(pair, options):
    theirs, ours = twins(pair, 3, 4, **options)
    assert (
        list(ours.state_dict()) == list(theirs.state_dict()) == ours._flat_weights_names == theirs._flat_weights_names
    )
    assert ours._all_weights == theirs._all_weights
    assert ours.__constants__ == theirs.__constants__
    assert ours.extra_repr() == theirs.extra_repr()
    assert repr(ours) == repr(theirs).replace(type(theirs).__name__, type(ours).__name__)
    assert type(ours._flat_weights) is list
    assert all(a is b for a, b in zip(ours._flat_weights, ours.parameters(), strict=True))
    assert [[w.shape for w in row] for row in ours.all_weights] == [
        [w.shape for w in row] for row in theirs.all_weights
    ]


def test_methods_that_check_raise_what_torchs_raise(pair):
    theirs, ours = twins(pair, 3, 4, 2, bidirectional=True)
    h = torch.zeros(4, 2, 4)
    hx = (h, h) if pair[1] is FusedLSTM else h
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
        assert module.permute_hidden(hx, None) is hx
        assert module.flatten_parameters() is None


# state_dict


def test_a_wrong_state_dict_is_an_error_and_loosely_a_list(pair):
    module = pair[1](3, 4)
    good = module.state_dict()
    missing = {n: v for n, v in good.items() if n != "weight_hh_l0"}
    for bad in (missing, {**good, "more": torch.zeros(1)}, {**good, "weight_hh_l0": torch.zeros(2, 2)}):
        with pytest.raises(RuntimeError, match=r"Error\(s\) in loading state_dict for Fused"):
            module.load_state_dict(bad)
    result = module.load_state_dict({**missing, "more": torch.zeros(1)}, strict=False)
    assert result.missing_keys == ["weight_hh_l0"]
    assert result.unexpected_keys == ["more"]


def test_cells_exchange_state_dicts_strictly(cells):
    theirs, ours = (kind(3, 4) for kind in cells)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    same_parameters(theirs, ours)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({}, strict=True)


def test_assigned_weights_are_those_of_the_next_forward(pair):
    theirs, ours = twins(pair, 3, 4, 2)
    ours(X)
    new = {n: torch.randn_like(v) for n, v in ours.state_dict().items()}
    for module in (theirs, ours):
        module.load_state_dict({n: v.clone() for n, v in new.items()}, assign=True)
    assert all(a is b for a, b in zip(ours._flat_weights, ours.parameters(), strict=True))
    torch.testing.assert_close(ours(X)[0], theirs(X)[0])


def test_conversion_with_swapped_tensors_is_seen(pair):
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


# copies


def saved_and_loaded(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


WAYS = {
    "deepcopy": copy.deepcopy,
    "copy of a copy": lambda m: copy.deepcopy(copy.deepcopy(m)),
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "save": saved_and_loaded,
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_copy_has_everything_and_shares_nothing(pair, way, training):
    module = pair[1](3, 4, 2, bidirectional=True, backend="aten").double().train(training)
    x = X.double()
    total(module(x)).backward()
    other = way(module)
    assert other.training == training
    assert repr(other) == repr(module)
    assert torch.equal(other(x)[0], module(x)[0])
    assert all(a is b for a, b in zip(other._flat_weights, other.parameters(), strict=True))
    mine = {p.data_ptr() for p in module.parameters()}
    assert not mine & {p.data_ptr() for p in other.parameters()}
    other.weight_hh_l0 = nn.Parameter(torch.zeros_like(other.weight_hh_l0))
    assert not torch.equal(other(x)[0], module(x)[0])
    assert other._flat_weights[1] is other.weight_hh_l0


def test_shared_memory_keeps_the_weights(pair):
    module = pair[1](3, 4)
    before, _ = module(X)
    assert module.share_memory() is module
    assert all(p.is_shared() for p in module._flat_weights)
    assert torch.equal(module(X)[0], before)


def test_a_replica_for_data_parallel_runs_on_the_weights_it_is_given(pair):
    module, other = pair[1](3, 4), pair[1](3, 4)
    replica = module._replicate_for_data_parallel()
    assert all(a is b for a, b in zip(replica._flat_weights, module._flat_weights, strict=True))  # as torch.nn's
    assert torch.equal(replica(X)[0], module(X)[0])
    assert not list(replica.parameters())
    for (
        name,
        weight,
    ) in other.named_parameters():  # torch.nn.parallel.replicate sets the copies, which are no parameters
        setattr(replica, name, weight.detach().clone())
    assert replica._flat_weights[1] is replica.weight_hh_l0
    assert module._flat_weights[1] is module.weight_hh_l0
    assert torch.equal(replica(X)[0], other(X)[0])
    assert not torch.equal(module(X)[0], other(X)[0])


def test_vectors_of_parameters_go_out_and_in(pair):
    theirs, ours = twins(pair, 3, 4, 2)
    vector = torch.randn_like(parameters_to_vector(ours.parameters()).detach())
    for module in (theirs, ours):
        vector_to_parameters(vector, module.parameters())
    torch.testing.assert_close(ours(X)[0], theirs(X)[0])


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_hh_l0"])
def test_pruning_is_seen_trains_and_becomes_permanent(pair, name):
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


# dtype and device


@pytest.mark.parametrize("change", ["double", "half", "bfloat16"])
def test_conversion_returns_the_module_and_moves_every_list(pair, change):
    module = pair[1](3, 4, 2)
    module(X)
    assert getattr(module, change)() is module
    dtype = module.weight_ih_l0.dtype
    assert all(w.dtype == dtype for w in module._flat_weights)
    results = tensors(module(X.to(dtype)))
    assert all(r.dtype == dtype for r in results)
    assert module.float() is module
    assert module(X)[0].dtype == torch.float32


def test_cells_run_on_meta_and_become_real(cells):
    cell = cells[1](3, 4, device="meta")
    assert all(s.is_meta and s.shape == (2, 4) for s in flat(cell(X[0].to("meta"))))
    torch.manual_seed(1)
    cell.to_empty(device="cpu").reset_parameters()
    torch.manual_seed(1)
    same_parameters(cell, cells[0](3, 4))
