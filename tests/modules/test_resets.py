"""`resets=`: where it is True, a sample starts anew from its initial state, on every backend and in every layout."""

import itertools
import random

import pytest
import torch
from contract_cases import tensors, total
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusedrnn import BackendUnavailableError, FusedGRU, FusedLSTM, FusedRNN, InitialState, functional
from fusedrnn.operators.pieces import Pieces

T, B, I, H = 7, 3, 4, 5
KINDS = {
    "gru": (FusedGRU, {}),
    "gru-before": (FusedGRU, {"reset_after": False}),
    "lstm": (FusedLSTM, {}),
    "lstm-proj": (FusedLSTM, {"proj_size": 3}),
    "rnn": (FusedRNN, {"nonlinearity": "relu"}),
}
RESETS = torch.tensor(
    [[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]], dtype=torch.bool
)  # at the first step, never, at the last step, twice in a row
LENGTHS = torch.tensor([7, 3, 5])
BACKENDS = ("reference", "aten", "triton", None)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


FEW = [
    pytest.param(kind, backend, marks=pytest.mark.slow if backend == "triton" and kind != "lstm" else [])
    for kind, backend in itertools.product(KINDS, BACKENDS)
]
"""Interpreted kernels are slow: in the short run they have one cell."""
few = pytest.mark.parametrize(("kind", "backend"), FEW, indirect=True)


def build(kind, seed=1, **options):
    torch.manual_seed(seed)
    cls, special = KINDS[kind]
    return cls(I, H, dtype=torch.float64, **special, **options)


def states_of(module, batch=B, **options):
    rows = module.num_layers * (1 + module.bidirectional)
    h = torch.randn(rows, batch, module.proj_size or H, dtype=torch.float64, **options)
    return (h, torch.randn(rows, batch, H, dtype=torch.float64, **options)) if module.mode == "LSTM" else (h,)


def hx(states):
    return states if len(states) == 2 else states[0]


def apart(module, x, states, resets, lengths=None):
    """The output and the final states of one layer, from a run of every piece of every sample alone."""
    D, width = 1 + module.bidirectional, module.proj_size or H
    steps = [len(x)] * x.shape[1] if lengths is None else lengths.tolist()
    outputs, finals = [], []
    for sample, end in enumerate(steps):
        begins = [0, *[t for t in range(1, end) if resets[t, sample]], end]
        own = tuple(state[:, sample : sample + 1] for state in states)
        runs = [module(x[a:b, sample : sample + 1], hx(own)) for a, b in itertools.pairwise(begins)]
        rows = torch.cat([output for output, _ in runs])
        outputs.append(torch.cat([rows, rows.new_zeros(len(x) - end, 1, D * width)]))
        last, first = (tensors(run[1]) for run in (runs[-1], runs[0]))
        finals.append([torch.cat([a[:1], b[1:]]) for a, b in zip(last, first, strict=True)])
    return torch.cat(outputs, 1), [torch.cat(parts, 1) for parts in zip(*finals, strict=True)]


def same(found, expected, leaves, tolerance=1e-10):
    """Assert that results and the gradients of `leaves` agree."""
    both = [[*r, *torch.autograd.grad(total(r), leaves, allow_unused=True)] for r in (found, expected)]
    for got, want in zip(*both, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("two", [False, True], ids=["one way", "two ways"])
def test_a_layer_gives_what_its_pieces_give_apart_with_every_gradient(kind, backend, two, lengths):
    module = build(kind, bidirectional=two, backend=backend)
    x, states = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True), states_of(module, requires_grad=True)
    output, finals = module(x, hx(states), lengths, resets=RESETS)
    module.backend = "reference"
    expected, ends = apart(module, x, states, RESETS, lengths)
    same([output, *tensors(finals)], [expected, *ends], [x, *states, *module.parameters()])


def test_many_random_calls_equal_their_pieces_apart():
    draw = random.Random(5)
    for _ in range(60):
        kind, two = draw.choice(list(KINDS)), draw.random() < 0.5
        steps, batch = draw.randint(1, 12), draw.randint(1, 5)
        module = build(kind, draw.randrange(99), bidirectional=two, bias=draw.random() < 0.7)
        ids = draw.random() < 0.3
        x = torch.randint(I, (steps, batch)) if ids else torch.randn(steps, batch, I, dtype=torch.float64)
        lengths = torch.tensor([draw.randint(1, steps) for _ in range(batch)]) if draw.random() < 0.5 else None
        resets = torch.rand(steps, batch) < draw.random()
        states = states_of(module, batch)
        module.backend = draw.choice(["aten", None])
        output, finals = module(x, hx(states), lengths, resets=resets)
        module.backend = "reference"
        expected, ends = apart(module, x, states, resets, lengths)
        same([output, *tensors(finals)], [expected, *ends], list(module.parameters()))


@few
def test_layers_above_start_anew_too(kind, backend):
    module = build(kind, num_layers=3, bidirectional=True, backend=backend)
    x, states = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True), states_of(module, requires_grad=True)
    output, finals, every = module(x, hx(states), LENGTHS, resets=RESETS, return_all_states=True)
    rows, expected, ends = x, [], []
    for depth in range(3):
        layer = KINDS[kind][0](rows.shape[-1], H, bidirectional=True, dtype=torch.float64, **KINDS[kind][1])
        for name, weight in list(module.named_parameters()):
            if f"_l{depth}" in name:
                setattr(layer, name.replace(f"_l{depth}", "_l0"), weight)
        layer.backend = "reference"
        rows, final = apart(layer, rows, tuple(s[2 * depth : 2 * depth + 2] for s in states), RESETS, LENGTHS)
        expected.append(rows)
        ends.append(final)
    ends = [torch.cat(parts) for parts in zip(*ends, strict=True)]
    hidden = [states[0] if isinstance(states, tuple) else states for states in every]
    same([output, *tensors(finals), *hidden], [rows, *ends, *expected], [x, *states, *module.parameters()])


def packed(x, **options):
    return pack_padded_sequence(x, LENGTHS, enforce_sorted=False, **options)


@few
@pytest.mark.parametrize("layout", ["batch first", "packed", "packed, batch first", "unbatched", "ids"])
def test_every_layout_gives_the_same(kind, backend, layout):
    module = build(kind, num_layers=2, bidirectional=True, backend=backend, batch_first="first" in layout)
    ids = torch.randint(I, (T, B))
    x = nn.functional.one_hot(ids, I).double()
    states = states_of(module)
    plain = build(kind, num_layers=2, bidirectional=True, backend="reference")
    plain.load_state_dict(module.state_dict())
    lengths = LENGTHS if "packed" in layout else None
    expected, ends = plain(x, hx(states), lengths, resets=RESETS)
    if "packed" in layout:
        rows, finals = module(packed(x), hx(states), resets=packed(RESETS))
        output, _ = pad_packed_sequence(rows)
    elif layout == "batch first":
        output, finals = module(x.transpose(0, 1), hx(states), resets=RESETS.t())
        output = output.transpose(0, 1)
    elif layout == "unbatched":
        alone, last = module(x[:, 2], hx(tuple(s[:, 2] for s in states)), resets=RESETS[:, 2])
        torch.testing.assert_close(alone, expected[:, 2])
        for got, want in zip(tensors(last), tensors(ends), strict=True):
            torch.testing.assert_close(got, want[:, 2])
        return
    else:
        output, finals = module(ids, hx(states), resets=RESETS)
    torch.testing.assert_close(output, expected)
    for got, want in zip(tensors(finals), tensors(ends), strict=True):
        torch.testing.assert_close(got, want)


def test_nothing_crosses_a_reset_and_the_initial_state_learns_at_each(backend):
    module = build("lstm", num_layers=2, backend=backend)
    initial = InitialState(module)
    x = torch.randn(T, 1, I, dtype=torch.float64, requires_grad=True)
    resets = torch.tensor([0, 0, 0, 1, 0, 0, 1], dtype=torch.bool).unsqueeze(1)
    output, _ = module(x, initial(x), resets=resets)
    (gradient,) = torch.autograd.grad(output[4].sum(), x, retain_graph=True)
    assert not gradient[:3].any()
    assert gradient[3:5].any(-1).all()
    assert not gradient[5:].any()
    each = [torch.autograd.grad(output[t].sum(), initial.h_0, retain_graph=True)[0] for t in (2, 5, 6)]
    (together,) = torch.autograd.grad(output[[2, 5, 6]].sum(), initial.h_0)
    torch.testing.assert_close(together, sum(each))
    assert all(part.any() for part in each)


@few
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of infinity in the interpreter
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_piece(kind, backend, value):
    module = build(kind, backend=backend)
    x = torch.randn(T, B, I, dtype=torch.float64)
    clean, _ = module(x, resets=RESETS)
    x[0, 0] = value
    dirty, _ = module(x, resets=RESETS)
    assert not torch.equal(dirty[:2, 0], clean[:2, 0])
    assert torch.equal(dirty[2:, 0], clean[2:, 0])
    assert torch.equal(dirty[:, 1:], clean[:, 1:])


@few
def test_without_a_reset_the_call_is_the_plain_one(kind, backend):
    module = build(kind, num_layers=2, bidirectional=True, backend=backend)
    x, states = torch.randn(T, B, I, dtype=torch.float64), states_of(module)
    for given in (torch.zeros(T, B, dtype=torch.bool), torch.arange(T).unsqueeze(1).expand(T, B) == 0):
        for got, want in zip(tensors(module(x, hx(states), resets=given)), tensors(module(x, hx(states))), strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize("device", ["meta", "fake"])
def test_calls_without_values_have_the_shapes(kind, device):
    with FakeTensorMode() if device == "fake" else torch.device("meta"):
        module = KINDS[kind][0](I, H, 2, bidirectional=True, **KINDS[kind][1])
        x, resets = torch.empty(T, B, I), torch.empty(T, B, dtype=torch.bool)
        for got, want in zip(tensors(module(x, resets=resets)), tensors(module(x)), strict=True):
            assert got.shape == want.shape


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("lengths", [None, torch.randint(1, 65, (9,))], ids=["full", "lengths"])
def test_the_padding_of_the_pieces_is_no_more_than_their_steps(rate, lengths):
    resets = torch.rand(64, 9) < rate
    resets[:, 0] = False  # one long piece beside the short ones
    pieces = Pieces(resets, lengths)
    there = torch.ones(64, 9, dtype=torch.bool) if lengths is None else torch.arange(64).unsqueeze(1) < lengths
    assert sorted(pieces.inside.tolist()) == there.flatten().nonzero().flatten().tolist()
    padded = sum(group.steps * len(group.samples) for group in pieces.groups)
    assert there.sum() <= padded <= 2 * there.sum()
    starts = resets & there
    starts[0] = True
    assert sum(len(group.samples) for group in pieces.groups) == starts.sum()
    assert sum(group.steps for group in pieces.groups) <= 2 * 64


@few
def test_a_batch_without_samples_has_no_pieces(kind, backend):
    module = build(kind, num_layers=2, backend=backend)
    found = [module(torch.zeros(T, 0, I, dtype=torch.float64), **given) for given in ({}, {"resets": RESETS[:, :0]})]
    for got, want in zip(*map(tensors, found), strict=True):
        assert got.shape == want.shape


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_between_layers_has_the_masks_of_a_call_without_resets(backend, variational):
    module = build("gru", num_layers=2, dropout=0.5, variational=variational, backend=backend)
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = []
    for resets in (torch.zeros(T, B, dtype=torch.bool), RESETS):
        torch.manual_seed(4)
        found.append([module(x, resets=resets)[0], torch.get_rng_state()])
    torch.manual_seed(4)
    plain = module(x)[0]
    torch.testing.assert_close(found[0][0], plain)
    assert torch.equal(found[0][1], found[1][1])
    before = RESETS[:, 0].nonzero()[1].item()  # the pieces before it are those of the plain call
    torch.testing.assert_close(found[1][0][:before, 0], plain[:before, 0])
    torch.testing.assert_close(found[1][0][:, 1], plain[:, 1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("kind", "form"),
    [("gru", "padded"), ("gru", "packed"), ("lstm", "lengths"), ("lstm-proj", "packed"), ("rnn", "padded")],
    indirect=["kind"],
)
def test_compiled_and_traced_calls_give_the_same(kind, form):
    module = build(kind, num_layers=2, bidirectional=True).requires_grad_(False)  # which jit.trace makes constants
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), LENGTHS if form == "lengths" else None

    def call(x, resets):
        return tensors(module(x, None, lengths, resets=resets))

    expected = call(packed(x), packed(RESETS)) if form == "packed" else call(x, RESETS)
    torch._dynamo.reset()
    if form == "packed":
        for got, want in zip(
            torch.compile(call, backend="aot_eager", fullgraph=True)(packed(x), packed(RESETS)), expected, strict=True
        ):
            torch.testing.assert_close(got, want)
    else:
        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)(x, RESETS)
        traced = torch.jit.trace(call, (x, RESETS), check_trace=False)(x, RESETS)
        for got in (compiled, traced):
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, b)
    others = ~RESETS
    again = call(packed(x), packed(others)) if form == "packed" else call(x, others)
    assert not torch.equal(again[0], expected[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_calls_follow_other_resets():
    module, x = build("gru").requires_grad_(False), torch.randn(T, B, I, dtype=torch.float64)

    def call(resets):
        return module(x, resets=resets)[0]

    traced = torch.jit.trace(call, (RESETS,), check_trace=False)
    torch.testing.assert_close(traced(~RESETS), call(~RESETS))


def test_second_derivatives_equal_finite_differences(kind):
    module, few = build(kind, backend="aten"), torch.tensor([[False, True], [True, False]])
    x = torch.randn(2, 2, I, dtype=torch.float64, requires_grad=True)
    states = states_of(module, 2, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, *states: module(x, hx(states), resets=few)[0], (x, *states))


def test_vmap_over_calls(kind):
    module = build(kind)
    x, resets = torch.randn(2, T, B, I, dtype=torch.float64), torch.stack([RESETS, ~RESETS])
    got = torch.vmap(lambda x, resets: module(x, resets=resets)[0])(x, resets)
    for k in range(2):
        torch.testing.assert_close(got[k], module(x[k], resets=resets[k])[0])


@few
def test_the_functions_take_them_too(kind, backend):
    module = build(kind, backend=backend)
    cls, special = KINDS[kind]
    function = {FusedGRU: functional.gru, FusedLSTM: functional.lstm, FusedRNN: functional.rnn}[cls]
    more = {key: value for key, value in special.items() if key != "proj_size"}
    x = torch.randn(T, B, I, dtype=torch.float64)
    got = function(x, None, module._weights().layers, resets=RESETS, backend=backend, **more)
    for a, b in zip(tensors(got), tensors(module(x, resets=RESETS)), strict=True):
        assert torch.equal(a, b)


X = torch.randn(T, B, I)
WRONG = {
    "ints": ((X, RESETS.int()), TypeError, r"^resets: expected torch.bool, got torch.int32$"),
    "a list": ((X, RESETS.tolist()), TypeError, r"^resets: expected a tensor, got list$"),
    "turned": ((X, RESETS.t()), ValueError, r"^resets: expected shape \(7, 3\), steps and samples, got \(3, 7\)$"),
    "with features": ((X, RESETS.unsqueeze(-1)), ValueError, r"^resets: expected 2-D, .*, got 3-D$"),
    "not packed": ((packed(X), RESETS), TypeError, r"^resets: expected a PackedSequence, as the input is, got Tensor$"),
    "packed otherwise": (
        (packed(X), pack_padded_sequence(RESETS, torch.tensor([7, 4, 5]), enforce_sorted=False)),
        ValueError,
        r"^resets: expected the batch sizes and the order of samples of the input, got others$",
    ),
    "packed in another order": (
        (packed(X), pack_padded_sequence(RESETS, LENGTHS[[1, 0, 2]], enforce_sorted=False)),
        ValueError,
        r"^resets: expected the batch sizes and the order of samples of the input, got others$",
    ),
    "elsewhere": ((X, RESETS.to("meta")), RuntimeError, r"^resets: expected device cpu, that of the input, got meta$"),
}


@pytest.mark.parametrize(("given", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_resets_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        FusedGRU(I, H)(given[0], resets=given[1])


def test_a_nested_tensor_has_none():
    nested = torch.nested.nested_tensor([torch.randn(2, I), torch.randn(3, I)], layout=torch.jagged)
    with pytest.raises(ValueError, match="resets: expected None with a nested tensor"):
        FusedGRU(I, H)(nested, resets=RESETS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_the_kernels_take_them_while_traced_by_dynamo_only():
    pytest.importorskip("triton")
    module, reference = FusedGRU(I, H, backend="triton"), FusedGRU(I, H, backend="reference")
    reference.load_state_dict(module.state_dict())
    torch._dynamo.reset()
    got = torch.compile(lambda x: module(x, resets=RESETS)[0], backend="eager", fullgraph=True)(X)
    torch.testing.assert_close(got, reference(X, resets=RESETS)[0])
    module.requires_grad_(False)  # a weight that requires it cannot be recorded
    with pytest.raises(BackendUnavailableError, match=r"expected torch.compile or torch.export, got torch.jit.trace"):
        torch.jit.trace(lambda x: module(x, resets=RESETS)[0], (X,))


class Episodes(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, resets):
        return self.rnn(x, resets=resets)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_they_are_exported_to_onnx_step_by_step():
    model = Episodes(FusedLSTM(I, H, 2, bidirectional=True)).eval()
    program = torch.onnx.export(model, (X, RESETS), dynamo=True, verbose=False)
    for resets in (RESETS, ~RESETS):
        (got,) = program(X, resets)
        torch.testing.assert_close(got, model(X, resets), rtol=0, atol=1e-5)
