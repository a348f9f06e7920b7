"""Dropout left to "auto" on a CPU: the masks and the random numbers of torch, in every form of a call."""

import functools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusedrnn import FusedDropout, FusedGRU, FusedLSTM, FusedRNN, functional, use_backend
from fusedrnn.backends.cpu import cost

T, B, I, H, P = 6, 3, 5, 4, 0.4
LENGTHS = torch.tensor([3, 6, 1])
KINDS = {
    "gru": (nn.GRU, FusedGRU, {}),
    "lstm": (nn.LSTM, FusedLSTM, {}),
    "lstm-proj": (nn.LSTM, FusedLSTM, {"proj_size": 3}),
    "rnn": (nn.RNN, FusedRNN, {}),
}
STACKS = {"deep": {"num_layers": 3}, "two ways": {"num_layers": 2, "bidirectional": True, "batch_first": True}}
LOOP = "loop_is_faster"
FORMS = {
    "torch's": dict.fromkeys(("padded_is_faster", "steps_alone_are_faster", LOOP), False),
    "padded": {"padded_is_faster": True, LOOP: False},
    "our operators": {LOOP: True},
}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request, monkeypatch):
    """Decide the rules of `cost` by name."""
    for name, decision in request.param.items():
        monkeypatch.setattr(cost, name, functools.partial(lambda given, *args, **kwargs: given, decision))


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def pair(request):
    """Builds torch.nn's module and ours with the same parameters."""
    theirs, ours, special = request.param

    def build(**options):
        modules = [kind(I, H, dropout=P, dtype=torch.float64, **special, **options) for kind in (theirs, ours)]
        modules[1].load_state_dict(modules[0].state_dict())
        return modules

    return build


def tensors(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return tensors(found.data) if hasattr(found, "batch_sizes") else [t for part in found for t in tensors(part)]


def outcome(module, run, x):
    """Results, gradients, and the state of the generator afterwards."""
    torch.manual_seed(5)
    results = tensors(run(module, x))
    state = torch.get_rng_state()
    total = sum((r * torch.linspace(-1, 2, r.numel(), dtype=r.dtype).view(r.shape)).sum() for r in results)
    return state, [*results, *torch.autograd.grad(total, [x, *module.parameters()])]


def same(modules, run, x, theirs=None):
    """Assert that both draw the same numbers and compute the same."""
    (expected_state, expected), (state, got) = (
        outcome(module, one, x) for module, one in zip(modules, (theirs or run, run), strict=True)
    )
    assert torch.equal(state, expected_state)
    assert (got[0] == 0).sum() == (expected[0] == 0).sum()
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
def test_dense_samples(pair, options):
    x = torch.randn(T, B, I, dtype=torch.float64)
    x = (x.transpose(0, 1) if options.get("batch_first") else x).clone().requires_grad_()
    same(pair(**options), lambda module, x: module(x), x)


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("by_cells", [False, True], ids=["layers", "cells"])
def test_one_step(pair, options, by_cells, monkeypatch):
    monkeypatch.setattr(cost, "steps_alone_are_faster", lambda *args, **kwargs: by_cells)
    x = torch.randn((B, 1, I) if options.get("batch_first") else (1, B, I), dtype=torch.float64, requires_grad=True)
    same(pair(**options), lambda module, x: module(x), x)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("lengths", [LENGTHS, torch.full((B,), T)], ids=["several lengths", "one length"])
def test_packed_samples(pair, options, lengths):
    def run(module, x):
        first = module.batch_first
        return module(pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=False))

    sizes = (B, T, I) if options.get("batch_first") else (T, B, I)
    same(pair(**options), run, torch.randn(sizes, dtype=torch.float64, requires_grad=True))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("variational", [False, True])
def test_lengths_have_masks_of_the_padded_layout_in_the_callers_order(pair, variational):
    """torch.nn has no such call: its layers are run one by one, with torch's dropout of the padded output between them."""
    modules = pair(num_layers=2)
    modules[1].variational = variational

    def by_hand(module, x):
        finals, special = [], {"proj_size": module.proj_size} if module.proj_size else {}
        for depth in range(2):
            if depth:
                x = x * torch.dropout(x.new_ones(x.shape[1:] if variational else x.shape), P, True)
            with torch.random.fork_rng():
                layer = type(module)(x.shape[-1], H, dtype=x.dtype, **special)
            for name, weight in module.named_parameters():
                if name.endswith(str(depth)):
                    setattr(layer, f"{name[:-1]}0", weight)
            packed, final = layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
            x, _ = pad_packed_sequence(packed)
            finals.append(tensors(final))
        return x, *(torch.cat(parts) for parts in zip(*finals, strict=True))

    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    same(modules, lambda module, x: module(x, lengths=LENGTHS), x, by_hand)


@pytest.mark.parametrize("way", ["short", "general"])
@pytest.mark.parametrize("ids", [False, True], ids=["features", "ids"])
@pytest.mark.parametrize("variational", [False, True])
def test_recurrent_weights_are_dropped_before_the_outputs_of_layers(pair, ids, variational, way, monkeypatch):
    theirs, ours = pair(num_layers=2)
    ours.variational, ours.weight_dropout = variational, 0.5
    if way == "general":
        monkeypatch.setattr("fusedrnn.modules.base.run_directly", lambda *args: None)
    x = torch.randint(I, (T, B)) if ids else torch.randn(T, B, I, dtype=torch.float64)
    torch.manual_seed(5)
    output, _ = ours(x)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    h = nn.functional.one_hot(x, I).double() if ids else x
    own = {
        name: torch.dropout(w, 0.5, True) if "_hh_" in name and "weight" in name else w
        for name, w in theirs.named_parameters()
    }
    for depth in range(2):
        if depth:
            h = h * torch.dropout(h.new_ones(h.shape[1:] if variational else h.shape), P, True)
        weights = [w for name, w in own.items() if name.endswith(str(depth))]
        sizes = [(1, B, getattr(theirs, "proj_size", 0) or H)] + ([(1, B, H)] if theirs.mode == "LSTM" else [])
        hx = [torch.zeros(size, dtype=torch.float64) for size in sizes]
        function = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh}[theirs.mode]
        h, *_ = function(h, hx if theirs.mode == "LSTM" else hx[0], weights, True, 1, 0.0, True, False, False)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(output, h, rtol=1e-10, atol=1e-12)
    assert ours.weight_hh_l0.count_nonzero() == ours.weight_hh_l0.numel()


@pytest.mark.usefixtures("form")
def test_ids_have_the_masks_of_one_hot_rows(pair):
    theirs, ours = pair(num_layers=2)
    ids, found = torch.randint(I, (T, B)), []
    for run in (lambda: theirs(nn.functional.one_hot(ids, I).double()), lambda: ours(ids)):
        torch.manual_seed(5)
        found.append([run()[0], torch.get_rng_state()])
    torch.testing.assert_close(*(output for output, _ in found), rtol=1e-10, atol=1e-12)
    assert torch.equal(*(state for _, state in found))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("inplace", [False, True], ids=["new", "in place"])
def test_a_layer_of_dropout_is_torchs_to_the_bit(dtype, p, inplace):
    x, found = torch.randn(7, 9, dtype=dtype).t(), []
    for kind in (nn.Dropout, FusedDropout):
        torch.manual_seed(5)
        given = x.clone()
        y = kind(p, inplace)(given)
        found.append([y, given, torch.get_rng_state()])
        assert y.stride() == found[0][0].stride()
    assert all(map(torch.equal, *found))
    assert (found[1][0] is found[1][1]) == (inplace or p == 0)


def test_bias_relu_dropout_is_torchs_to_the_bit():
    x, bias, found = torch.randn(4, 6, requires_grad=True), torch.randn(6, requires_grad=True), []
    for run in (lambda: nn.functional.dropout((x + bias).relu(), P), lambda: functional.bias_relu_dropout(x, bias, P)):
        torch.manual_seed(5)
        y = run()
        found.append([y, *torch.autograd.grad(y.sin().sum(), (x, bias)), torch.get_rng_state()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("inplace", [False, True], ids=["new", "in place"])
def test_leading_dimensions_share_a_mask(inplace):
    x = torch.randn(5, 3, 4).exp()
    torch.manual_seed(5)
    given = x.clone()
    y = functional.dropout(given, P, inplace=inplace, shared_dims=1)
    assert (y is given) == inplace
    torch.manual_seed(5)
    assert torch.equal(y, x * torch.dropout(torch.ones(3, 4), P, True))


@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_a_backend_that_is_named_has_the_masks_of_all_devices(backend):
    x = torch.ones(50, 4)
    torch.manual_seed(5)
    seed = torch.randint(-(1 << 63), (1 << 63) - 1, (1,))
    expected = torch.ops.fusedrnn.dropout("plain", x, P, seed, 0)
    torch.manual_seed(5)
    assert torch.equal(functional.dropout(x, P, backend=backend), expected)
    torch.manual_seed(5)
    with use_backend(backend):
        assert torch.equal(FusedDropout(P)(x), expected)
    torch.manual_seed(5)
    assert not torch.equal(FusedDropout(P)(x), expected)


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan")])
def test_a_wrong_probability_that_was_set_later_is_refused(wrong):
    module = FusedGRU(I, H, 2, dropout=P)
    module.dropout = wrong
    with pytest.raises(ValueError, match="dropout: expected a probability"):
        module(torch.randn(T, B, I))
