"""State as torch.nn's: state_dicts, copies, replicas, shared memory, conversion of dtype, the meta device."""

import copy
import io
import pickle

import pytest
import torch
from contract_cases import flat, tensors, total
from torch import nn

X = torch.randn(5, 2, 3)


def test_a_wrong_state_dict_is_an_error_and_not_strictly_a_list(pair):
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
    for (name, p), (other, q) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        assert (name, p.dtype) == (other, q.dtype)
        assert torch.equal(p, q)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({}, strict=True)


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
    assert "_flat_weight_refs" not in module.__getstate__()
    other = way(module)
    assert other.training == training
    assert repr(other) == repr(module)
    assert torch.equal(other(x)[0], module(x)[0])
    assert all(a is b for a, b in zip(other._flat_weights, other.parameters(), strict=True))
    mine = {p.data_ptr() for p in module.parameters()}
    assert not mine & {p.data_ptr() for p in other.parameters()}
    changed = way(module)
    with torch.no_grad():
        changed.weight_hh_l1.zero_()
    assert not torch.equal(changed(x)[0], module(x)[0])
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
    for name, weight in other.named_parameters():  # as torch.nn.parallel.replicate does: plain tensors, not parameters
        setattr(replica, name, weight.detach().clone())
    assert replica._flat_weights[1] is replica.weight_hh_l0
    assert module._flat_weights[1] is module.weight_hh_l0
    assert torch.equal(replica(X)[0], other(X)[0])
    assert not torch.equal(module(X)[0], other(X)[0])


# dtype and device


@pytest.mark.parametrize("change", ["double", "half", "bfloat16"])
def test_a_conversion_returns_the_module_and_is_used_by_the_next_forward(pair, backend, change):
    module = pair[1](3, 4, 2, backend=backend)
    module(X)
    assert getattr(module, change)() is module
    dtype = module.weight_ih_l0.dtype
    assert dtype == getattr(torch, {"double": "float64", "half": "float16"}.get(change, change))
    for convert in (lambda: module, lambda: module.to(dtype)):
        assert convert() is module
        assert all(w.dtype == dtype for w in module._flat_weights)
        for x in (X.to(dtype), torch.zeros(5, 2, dtype=torch.int64)):
            module.zero_grad()
            output, states = module(x)
            assert all(r.dtype == dtype for r in tensors((output, states)))
            output.sum().backward()
            assert module.weight_hh_l0.grad.dtype == dtype
        assert module.float() is module
        assert module(X)[0].dtype == torch.float32


def test_a_module_on_meta_has_shapes_and_becomes_real(pair, backend):
    module = pair[1](3, 4, 2, device="meta", backend=backend)
    output, states = module(X.to("meta"))
    assert output.is_meta
    assert output.shape == (5, 2, 4)
    assert all(s.shape == (2, 2, 4) for s in flat(states))
    source = pair[1](3, 4, 2)
    module.load_state_dict(source.state_dict(), assign=True)
    assert module.weight_ih_l0 is module._flat_weights[0]
    torch.testing.assert_close(module(X)[0], source(X)[0])
    emptied = pair[1](3, 4, device="meta").to_empty(device="cpu")
    torch.manual_seed(1)
    emptied.reset_parameters()
    torch.manual_seed(1)
    assert torch.equal(emptied.weight_hh_l0, pair[1](3, 4).weight_hh_l0)


def test_a_cell_on_meta_has_shapes_and_becomes_real(cells):
    cell = cells[1](3, 4, device="meta")
    assert all(s.is_meta and s.shape == (2, 4) for s in flat(cell(X[0].to("meta"))))
    torch.manual_seed(1)
    cell.to_empty(device="cpu").reset_parameters()
    torch.manual_seed(1)
    expected = cells[0](3, 4)
    assert list(cell.state_dict()) == list(expected.state_dict())
    assert all(torch.equal(p, q) for p, q in zip(cell.parameters(), expected.parameters(), strict=True))
