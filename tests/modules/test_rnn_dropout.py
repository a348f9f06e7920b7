"""Dropout in the recurrent modules: the masks of `functional.dropout`, the same in every layout and on every named backend."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN, functional
from fusedrnn.dropout import seed_for
from fusedrnn.reference.counter_dropout import counter_dropout, kept

T, B, I, H, P = 4, 3, 5, 6, 0.4
KINDS = {
    "gru": (FusedGRU, {}),
    "gru-before": (FusedGRU, {"reset_after": False}),
    "lstm": (FusedLSTM, {}),
    "lstm-proj": (FusedLSTM, {"proj_size": 4}),
    "rnn": (FusedRNN, {"nonlinearity": "relu"}),
}
BACKENDS = ["reference", "aten", pytest.param("triton", marks=pytest.mark.filterwarnings("error"))]
LENGTHS = torch.tensor([3, 4, 1])


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


def build(kind, **options):
    torch.manual_seed(1)
    cls, special = KINDS[kind]
    return cls(I, H, dtype=torch.float64, **special, **options)


def by_hand(module, x, lengths=None, input_seed=None, weight_seeds=None, seeds=None):
    """Run the module's layers one by one on the reference, with the reference's dropout of the given seeds between them."""
    shared = 1 if module.variational else 0
    if input_seed is not None:
        x = counter_dropout(x, module.input_dropout, input_seed, shared)
    rate, module.weight_dropout = module.weight_dropout, 0.0
    layers = module._weights().layers
    module.weight_dropout = rate
    states = []
    for depth, layer in enumerate(layers):
        if weight_seeds is not None:
            layer = [d._replace(w_hh=counter_dropout(d.w_hh, rate, weight_seeds[depth])) for d in layer]
        if depth > 0 and seeds is not None:
            x = counter_dropout(x, module.dropout, seeds[depth - 1], shared)
        if isinstance(module, FusedLSTM):
            x, (h, _) = functional.lstm(x, None, [layer], lengths=lengths, backend="reference")
        elif isinstance(module, FusedRNN):
            x, h = functional.rnn(
                x, None, [layer], lengths=lengths, nonlinearity=module.nonlinearity, backend="reference"
            )
        else:
            x, h = functional.gru(
                x, None, [layer], lengths=lengths, reset_after=module.reset_after, backend="reference"
            )
        states.append(h)
    return x, torch.cat(states)


def h_of(states):
    return states[0] if isinstance(states, tuple) else states


def assert_close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("variational", [False, True], ids=["per step", "variational"])
@pytest.mark.parametrize("two", [False, True], ids=["one way", "two ways"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_the_layers_by_hand(kind, two, variational, backend):
    module = build(kind, num_layers=3, dropout=P, bidirectional=two, variational=variational, backend=backend)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    leaves = [x, *module.parameters()]
    results = []
    for by_module in (True, False):
        torch.manual_seed(7)
        if by_module:
            output, states = module(x)
            h_n = h_of(states)
        else:
            output, h_n = by_hand(module, x, seeds=seed_for(P, x.device, 2))
        torch.manual_seed(8)
        weights = [torch.randn_like(output), torch.randn_like(h_n)]
        results.append([output, h_n, *torch.autograd.grad([output, h_n], leaves, weights)])
    for got, expected in zip(*results, strict=True):
        assert_close(got, expected)


@pytest.mark.parametrize("layout", ["padded", "lengths", "packed", "batch first", "unbatched"])
def test_the_mask_does_not_depend_on_the_layout(layout, backend):
    module = build("gru", num_layers=2, dropout=P, input_dropout=0.3, variational=layout == "packed", backend=backend)
    x = torch.randn(T, B, I, dtype=torch.float64)
    x = x[:, :1] if layout == "unbatched" else x
    ragged = layout in ("lengths", "packed")
    torch.manual_seed(7)
    input_seed = seed_for(0.3, x.device)
    if layout == "packed":  # the order of the packed samples is that of the mask
        order = LENGTHS.argsort(descending=True)
        back = order.argsort()
        expected = by_hand(module, x[:, order], LENGTHS[order], input_seed, seeds=seed_for(P, x.device))[0][:, back]
    else:
        lengths = LENGTHS if ragged else None
        expected = by_hand(module, x, lengths, input_seed, seeds=seed_for(P, x.device))[0]
    torch.manual_seed(7)
    if layout == "packed":
        got = pad_packed_sequence(module(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))[0])[0]
    elif layout == "batch first":
        module.batch_first = True
        got = module(x.transpose(0, 1))[0].transpose(0, 1)
    elif layout == "unbatched":
        got = module(x[:, 0])[0].unsqueeze(1)
    else:
        got = module(x, lengths=LENGTHS if ragged else None)[0]
    assert_close(got, expected)


@pytest.mark.parametrize("kind", ["gru", "lstm-proj"])
def test_every_weight_hh_has_its_own_mask(kind, backend):
    module = build(kind, num_layers=2, weight_dropout=P, backend=backend)
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.manual_seed(7)
    seeds = [seed_for(P, x.device) for _ in range(2)]
    expected = by_hand(module, x, weight_seeds=seeds)
    torch.manual_seed(7)
    output, states = module(x)
    assert_close(output, expected[0])
    assert_close(h_of(states), expected[1])
    assert module.weight_hh_l0.count_nonzero() == module.weight_hh_l0.numel()


@pytest.mark.parametrize("seed", range(5))
def test_the_masks_of_two_layers_are_independent(seed):
    """Chi-square with 3 degrees of freedom at the level 1e-4: four cells of a pair against their expectation."""
    torch.manual_seed(seed)
    below, above = (kept(own, P, 100_003) for own in seed_for(P, torch.device("cpu"), 2))
    counts = torch.bincount(2 * below.long() + above.long(), minlength=4).double()
    expected = len(below) * torch.tensor([P * P, P * (1 - P), P * (1 - P), (1 - P) ** 2], dtype=torch.float64)
    assert ((counts - expected) ** 2 / expected).sum() < 21.108


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_token_ids_drop_between_layers_too(kind, backend):
    module = build(kind, num_layers=2, dropout=P, backend=backend)
    ids = torch.randint(0, I, (T, B))
    torch.manual_seed(7)
    output, states = module(ids)
    torch.manual_seed(7)
    one_hot = torch.nn.functional.one_hot(ids, I).double()
    expected = by_hand(module, one_hot, seeds=seed_for(P, ids.device))
    assert_close(output, expected[0])
    assert_close(h_of(states), expected[1])
    assert not torch.equal(module(ids)[0], output)


EVERY = {"dropout": P, "input_dropout": P, "weight_dropout": P, "variational": True}


@pytest.mark.parametrize("options", [{"dropout": P}, EVERY], ids=["between layers", "every option"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_evaluation_drops_nothing_and_draws_nothing(kind, options, backend):
    module = build(kind, num_layers=2, backend=backend, **options).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    before = torch.get_rng_state()
    got = module(x)[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert_close(got, by_hand(module, x)[0])


def test_checkpointing_recomputes_the_same_masks(backend):
    module = build("gru", num_layers=2, backend=backend, **EVERY)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    expected = torch.autograd.grad(module(x)[0].sin().sum(), x)[0]
    torch.manual_seed(3)
    output = checkpoint(lambda x: module(x)[0], x, use_reentrant=False)
    torch.randn(5)
    output.sin().sum().backward()
    assert_close(x.grad, expected)


@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_compiled_whole_with_every_option(backend):
    torch.compiler.reset()
    module = build("lstm", num_layers=2, backend=backend, **EVERY)
    x = torch.randn(T, B, I, dtype=torch.float64)
    results = []
    for run in (module, torch.compile(module, fullgraph=True, backend="aot_eager")):
        module.zero_grad()
        torch.manual_seed(3)
        output, _ = run(x)
        output.sin().sum().backward()
        results.append([output, *(p.grad.clone() for p in module.parameters())])
    for expected, got in zip(*results, strict=True):
        assert_close(got, expected)


def test_options_show_and_are_checked():
    module = FusedGRU(3, 4, 2, backend="aten", **EVERY)
    assert repr(module) == (
        "FusedGRU(3, 4, num_layers=2, dropout=0.4, input_dropout=0.4, weight_dropout=0.4, variational=True, backend='aten')"
    )
    for name in ("input_dropout", "weight_dropout"):
        with pytest.raises(ValueError, match=rf"^{name}: expected a probability from 0 to 1, got nan$"):
            FusedLSTM(3, 4, **{name: float("nan")})
    with pytest.raises(RuntimeError, match=r"^input_dropout: expected floating-point input, got torch.int64$"):
        module(torch.zeros(2, 2, dtype=torch.int64))
    w = module._weights().layers
    with pytest.raises(ValueError, match=r"^dropout: expected a probability from 0 to 1, got 1.5$"):
        functional.gru(torch.ones(2, 2, 3), None, w, dropout=1.5, training=True)
