"""What torch.nn's GRU and LSTM promise beside their numbers: parameters, copies, replaced weights, aliasing, dropout."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedLSTM

PAIRS = {"gru": (nn.GRU, FusedGRU), "lstm": (nn.LSTM, FusedLSTM)}
X = torch.randn(5, 2, 3)


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def pair(request):
    return request.param


@pytest.fixture(params=["aten", "reference"])
def backend(request):
    return request.param


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


def flat(states):
    return [states] if isinstance(states, torch.Tensor) else list(states)


def loss(module, *given):
    output, states = module(*given)
    return sum((s.sin().sum() for s in flat(states)), output.cos().sum())


# constructor and introspection


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"bias": False},
        {"num_layers": 3, "dropout": 0.5, "batch_first": True},
    ],
    ids=repr,
)
def test_attributes_and_parameters_are_torchs(pair, options):
    theirs, ours = (kind(3, 4, **options) for kind in pair)
    for name in (*nn.RNNBase.__constants__, "_flat_weights_names", "_all_weights"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert isinstance(ours.dropout, float)
    assert ours.extra_repr() == theirs.extra_repr()
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [(n, p.shape) for n, p in theirs.named_parameters()]
    assert all(p.requires_grad and p.is_contiguous() for p in ours.parameters())
    named = [[getattr(ours, name) for name in names] for names in ours._all_weights]
    assert all(
        a is b for mine, got in zip(named, ours.all_weights, strict=True) for a, b in zip(mine, got, strict=True)
    )
    assert all(a is b for a, b in zip(ours._flat_weights, ours.parameters(), strict=True))
    assert isinstance(ours, nn.RNNBase)


def test_the_projection_of_an_lstm_is_its_eighth_argument():
    lstm = FusedLSTM(3, 4, 1, True, False, 0.0, False, 2)
    assert lstm.proj_size == lstm.weight_hr_l0.shape[0] == 2
    assert lstm.extra_repr() == "3, 4, proj_size=2"


def test_dropout_on_one_layer_is_a_warning(pair):
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        pair[1](3, 4, dropout=0.5)


def test_the_choices_that_torch_does_not_have_are_in_the_repr():
    gru = FusedGRU(3, 4, backend="aten", reset_after=False)
    assert gru.extra_repr() == "3, 4, backend='aten', reset_after=False"


def test_dtype_device_and_their_defaults_are_respected(pair):
    assert pair[1](3, 4, dtype=torch.bfloat16).weight_ih_l0.dtype == torch.bfloat16
    assert pair[1](3, 4, device="meta").weight_ih_l0.is_meta
    torch.set_default_dtype(torch.float64)
    try:
        assert pair[1](3, 4).weight_ih_l0.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_methods_that_users_call_exist_and_check(pair):
    theirs, ours = (kind(3, 4, 2, bidirectional=True) for kind in pair)
    h = torch.randn(4, 2, 4)
    hx = (h, h) if isinstance(ours, FusedLSTM) else h
    ours.check_forward_args(X, hx, None)
    assert ours.flatten_parameters() is None
    assert ours.get_expected_hidden_size(X, None) == theirs.get_expected_hidden_size(X, None)
    order = torch.tensor([1, 0])
    for got, expected in zip(flat(ours.permute_hidden(hx, order)), flat(theirs.permute_hidden(hx, order)), strict=True):
        assert torch.equal(got, expected)
    with pytest.raises(RuntimeError, match="got"):
        ours.check_forward_args(X, (h, h[:1]) if isinstance(hx, tuple) else h[:1], None)
    if isinstance(ours, FusedLSTM):
        assert ours.get_expected_cell_size(X, None) == theirs.get_expected_cell_size(X, None)


# copies


def test_copies_after_a_forward_are_equal_independent_and_consistent(pair):
    module = pair[1](3, 4, 2)
    module(X)
    assert "_flat_weight_refs" not in module.__getstate__()
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    copies = copy.deepcopy(module), pickle.loads(pickle.dumps(module)), torch.load(buffer, weights_only=False)
    for other in copies:
        assert torch.equal(other(X)[0], module(X)[0])
        assert all(a is b for a, b in zip(other._flat_weights, other.parameters(), strict=True))
        with torch.no_grad():
            other.weight_hh_l1.zero_()
        assert not torch.equal(other(X)[0], module(X)[0])


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_conversion_is_seen_by_the_next_forward(pair, backend, dtype):
    module = pair[1](3, 4, 2, backend=backend)
    module(X)
    assert module.to(dtype) is module
    for given in (X.to(dtype), torch.zeros(5, 2, dtype=torch.int64)):
        output, states = module(given)
        assert all(r.dtype == dtype for r in (output, *flat(states)))
        output.sum().backward()
        assert module.weight_hh_l0.grad.dtype == dtype


# weights that change


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
def test_a_replaced_weight_is_seen(pair, replace):
    module, fresh = pair[1](3, 4), pair[1](3, 4)
    fresh.load_state_dict(module.state_dict())
    value = torch.randn_like(module.weight_hh_l0)
    module(X)
    replace(module, value)
    with torch.no_grad():
        fresh.weight_hh_l0.copy_(value)
    torch.testing.assert_close(module(X)[0], fresh(X)[0])
    assert module._flat_weights[1] is module.weight_hh_l0


@pytest.mark.parametrize("name", ["orthogonal", "weight_norm", "spectral_norm"])
def test_a_parametrized_weight_is_the_current_one_and_passes_its_gradient_on(pair, name):
    module = pair[1](3, 4)
    getattr(parametrizations, name)(module, "weight_hh_l0")
    module.eval()
    plain = pair[1](3, 4)
    plain.load_state_dict({n: getattr(module, n) for n in plain.state_dict()})
    torch.testing.assert_close(module(X)[0], plain(X)[0])
    loss(module, X).backward()
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


def test_legacy_weight_norm_and_pruning(pair):
    module = pair[1](3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module, "weight_hh_l0")
    loss(module, X).backward()
    assert module.weight_hh_l0_g.grad.any()
    pruned = pair[1](3, 4)
    prune.random_unstructured(pruned, "weight_hh_l0", 0.5)
    plain = pair[1](3, 4)
    plain.load_state_dict({n: getattr(pruned, n) for n in plain.state_dict()})
    assert torch.equal(pruned(X)[0], plain(X)[0])


def test_tied_weights_get_the_sum_of_gradients(pair, backend):
    tied, free = pair[1](4, 4, 2, backend=backend), pair[1](4, 4, 2, backend=backend)
    tied.weight_hh_l1 = tied.weight_hh_l0
    free.load_state_dict(tied.state_dict())
    x = torch.randn(5, 2, 4)
    for module in (tied, free):
        loss(module, x).backward()
    torch.testing.assert_close(tied.weight_hh_l0.grad, free.weight_hh_l0.grad + free.weight_hh_l1.grad)
    assert tied._flat_weights[5] is tied.weight_hh_l0


def test_functional_call_takes_all_or_some_weights(pair, backend):
    module, other = pair[1](3, 4, backend=backend), pair[1](3, 4)
    everything = dict(other.named_parameters())
    torch.testing.assert_close(torch.func.functional_call(module, everything, (X,))[0], other(X)[0])
    some = {"weight_hh_l0": other.weight_hh_l0}
    mixed = pair[1](3, 4)
    mixed.load_state_dict({**module.state_dict(), **{k: v.detach() for k, v in some.items()}})
    torch.testing.assert_close(torch.func.functional_call(module, some, (X,))[0], mixed(X)[0])
    assert module._flat_weights[1] is module.weight_hh_l0


# forward


def test_nothing_is_aliased_or_modified(pair, backend):
    module = pair[1](3, 3, backend=backend)
    x, h = torch.randn(1, 2, 3), torch.randn(1, 2, 3)
    hx = (h, h.clone()) if isinstance(module, FusedLSTM) else h
    before = [t.clone() for t in (x, *flat(hx))]
    output, states = module(x, hx)
    results, given = [output, *flat(states)], [x, *flat(hx)]
    assert len({storage(t) for t in (*results, *given)}) == len(results) + len(given)
    assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))


def test_expanded_transposed_and_strided_tensors_are_taken(pair, backend):
    module = pair[1](3, 4, backend=backend)
    x, h = torch.randn(2, 3, 5).permute(2, 0, 1), torch.randn(1, 1, 4).expand(1, 2, 4)
    hx = (h, h) if isinstance(module, FusedLSTM) else h
    same = (h.contiguous(), h.contiguous()) if isinstance(module, FusedLSTM) else h.contiguous()
    assert torch.equal(module(x, hx)[0], module(x.contiguous(), same)[0])


def test_batch_first_is_ignored_for_unbatched_input(pair, backend):
    module = pair[1](3, 4, batch_first=True, backend=backend)
    output, states = module(X[:, 0])
    assert output.shape == (5, 4)
    assert flat(states)[0].shape == (1, 4)
    torch.testing.assert_close(output, module(X.transpose(0, 1))[0][0])


@pytest.mark.parametrize("given", [torch.randn(5, 0, 3), torch.zeros(5, 0, dtype=torch.int64)], ids=["floats", "ids"])
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_empty_output_and_zero_gradients(pair, backend, given, training):
    module = pair[1](3, 4, 2, bidirectional=True, backend=backend).train(training)
    output, states = module(given)
    assert output.shape == (5, 0, 8)
    assert all(s.shape == (4, 0, 4) for s in flat(states))
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_evaluation_drops_nothing_and_leaves_the_generator_alone(pair, backend):
    module, plain = pair[1](3, 4, 2, dropout=0.5, backend=backend).eval(), pair[1](3, 4, 2)
    plain.load_state_dict(module.state_dict())
    state = torch.get_rng_state()
    torch.testing.assert_close(module(X)[0], plain(X)[0])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("ids", [False, True], ids=["floats", "ids"])
def test_dropout_follows_the_seed_between_layers_only(pair, backend, ids):
    module, x = pair[1](3, 64, 2, dropout=0.5, backend=backend), torch.zeros(5, 2, dtype=torch.int64) if ids else X
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        output, states = module(x)
        results.append((output, flat(states)[0]))
    assert torch.equal(results[0][0], results[1][0])
    assert not torch.equal(results[0][0], results[2][0])
    torch.testing.assert_close(results[0][1][0], results[2][1][0])  # the state of the first layer is undropped


def test_dropout_of_one_gives_the_next_layer_zeros(pair, backend):
    module = pair[1](3, 4, 2, dropout=1.0, backend=backend)
    zeros = pair[1](3, 4, 1)
    zeros.load_state_dict(
        {n: getattr(module, n.replace("l0", "l1")) if "ih" not in n else v for n, v in zeros.state_dict().items()}
    )
    with torch.no_grad():
        zeros.bias_ih_l0.copy_(module.bias_ih_l1)
    torch.testing.assert_close(module(X)[0], zeros(torch.zeros_like(X))[0])


def test_packed_output_keeps_the_packing(pair, backend):
    module = pair[1](3, 4, backend=backend)
    sequences = [torch.randn(n, 3) for n in (4, 2, 3)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    output, _ = module(packed)
    assert output.data.shape == (9, 4)
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert torch.equal(getattr(output, name), getattr(packed, name))
    given_sorted, _ = module(pack_sequence(sorted(sequences, key=len, reverse=True)))
    assert given_sorted.sorted_indices is None
    assert given_sorted.unsorted_indices is None


def test_packed_ids_are_packed_one_hot_rows(pair, backend):
    module = pair[1](5, 4, 2, bidirectional=True, backend=backend)
    ids = [torch.randint(0, 5, (n,)) for n in (2, 4, 3)]
    one_hot = pack_sequence([nn.functional.one_hot(i, 5).float() for i in ids], enforce_sorted=False)
    (got, states), (expected, other) = module(pack_sequence(ids, enforce_sorted=False)), module(one_hot)
    torch.testing.assert_close(got.data, expected.data)
    torch.testing.assert_close(states, other)


def test_autocast_gives_half_precision_or_float32_and_float32_gradients(pair, backend):
    for x in (X, X.bfloat16(), torch.zeros(5, 2, dtype=torch.int64)):
        module = pair[1](3, 4, 2, backend=backend)
        with torch.autocast("cpu", torch.bfloat16):
            output, states = module(x)
        exact, _ = module(x.float() if x.is_floating_point() else x)
        torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.02)
        assert all(r.dtype in (torch.bfloat16, torch.float32) for r in (output, *flat(states)))
        output.float().sum().backward()
        assert all(p.grad.dtype == torch.float32 for p in module.parameters())
