"""Every form of a call of torch's functions on a CPU gives the results and gradients of the reference."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN
from fusedrnn.backends.cpu import cost, run
from fusedrnn.backends.cpu.network import Network
from fusedrnn.call import Weights

I, H, T, B = 5, 4, 6, 3
LENGTHS = torch.tensor([2, 6, 3])
KINDS = {"gru": FusedGRU, "lstm": FusedLSTM, "rnn": FusedRNN}
STACKS = {
    "one layer": {},
    "no bias": {"bias": False},
    "deep": {"num_layers": 2, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
}


@pytest.fixture
def forms(monkeypatch):
    """The names of the forms that ran; `forms.force(name=bool)` decides a rule of `cost`."""

    class Forms(list):
        def force(self, **decisions):
            for name, decision in decisions.items():
                monkeypatch.setattr(cost, name, lambda *args, _decision=decision, **kwargs: _decision)

    seen = Forms()
    for name in ("run_padded", "run_sorted", "run_one_step", "with_features"):
        original = getattr(run, name)
        monkeypatch.setattr(
            run, name, lambda *args, _f=original, _n=name, **kwargs: (seen.append(_n), _f(*args, **kwargs))[1]
        )
    return seen


def states_for(module, batch, **options):
    shape = (module.num_layers * (1 + module.bidirectional), batch, H)
    h = torch.randn(shape, dtype=torch.float64, **options)
    return h if module.mode != "LSTM" else (h, torch.randn_like(h).requires_grad_(h.requires_grad))


def flat(result):
    """The tensors of a result, packed rows without their places."""
    if isinstance(result, torch.Tensor):
        return [result]
    return flat(result.data) if hasattr(result, "batch_sizes") else [t for part in result for t in flat(part)]


def outcome(module, backend, x, hx, **options):
    """Results and gradients of everything that has one."""
    module.backend = backend
    results = flat(module(x, hx, **options))
    given = [t for t in (*flat(x), *([] if hx is None else flat(hx)), *module.parameters()) if t.requires_grad]
    weights = [torch.linspace(-1, 2, r.numel(), dtype=r.dtype).view(r.shape) for r in results]
    total = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
    return [*results, *torch.autograd.grad(total, given)]


def same(module, x, hx=None, tolerance=1e-10, **options):
    """Assert that "aten" and the reference agree."""
    ours, expected = (outcome(module, backend, x, hx, **options) for backend in ("aten", "reference"))
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance / 10)


def build(kind, options, ids):
    """A module and an input in its layout."""
    module = KINDS[kind](I, H, dtype=torch.float64, **options)
    x = torch.randint(I, (T, B)) if ids else torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    return module, x.transpose(0, 1) if module.batch_first else x


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("ids", [False, True], ids=["features", "ids"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["padded", "sorted"])
@pytest.mark.parametrize("given", [False, True], ids=["no hx", "hx"])
def test_lengths(forms, kind, options, ids, form, given):
    forms.force(padded_is_faster=form == "padded", features_are_faster=True, loop_is_faster=False)
    module, x = build(kind, options, ids)
    hx = states_for(module, B, requires_grad=True) if given else None
    same(module, x, hx, lengths=LENGTHS)
    to_sort = kind == "rnn" or (kind == "lstm" and given and module.bidirectional)  # what cannot pass the padding
    assert ("run_sorted" if form == "sorted" or to_sort else "run_padded") in forms
    assert ("with_features" in forms) == ids


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("ids", [False, True], ids=["features", "ids"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padded", [False, True], ids=["packed", "padded"])
@pytest.mark.parametrize("given", [False, True], ids=["no hx", "hx"])
def test_packed(forms, kind, options, ids, padded, given):
    forms.force(padded_is_faster=padded, features_are_faster=True, loop_is_faster=False)
    module, x = build(kind, options, ids)
    packed = pack_padded_sequence(
        x.detach(), LENGTHS, batch_first=bool(options.get("batch_first")), enforce_sorted=False
    )
    if not ids:
        packed.data.requires_grad_()
    same(module, packed, states_for(module, B, requires_grad=True) if given else None)
    could = kind == "gru" or (
        kind == "lstm" and not (given and module.bidirectional)
    )  # where an LSTM cannot pass the padding
    assert ("run_padded" in forms) == (padded and could)


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("ids", [False, True], ids=["features", "ids"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [False, True], ids=["no hx", "hx"])
def test_one_step(forms, kind, options, ids, given):
    forms.force(steps_alone_are_faster=True, features_are_faster=True, loop_is_faster=False)
    module, x = build(kind, options, ids)
    module.float()  # torch's cells are faster only than oneDNN's layer in float32
    x = (x[:, :1] if module.batch_first else x[:1]).detach()
    x = x if ids else x.float().requires_grad_()
    hx = tuple([state.detach().float().requires_grad_() for state in flat(states_for(module, B))]) if given else None
    same(module, x, hx[0] if given and kind != "lstm" else hx, tolerance=1e-5)
    assert ("run_one_step" in forms) == (kind == "lstm")


@pytest.mark.parametrize("kind", KINDS)
def test_the_results_of_one_step_share_no_memory(kind):
    module = KINDS[kind](I, H)
    output, finals = module(torch.randn(1, B, I))
    before = [t.clone() for t in flat(finals)]
    output.zero_()
    assert all(map(torch.equal, flat(finals), before))


@pytest.mark.parametrize(
    ("rules", "vocabulary", "width"),
    [((False, False), 5, 5), ((False, True), 200, 18), ((True, False), 200, 2), ((False, True), 18, 18)],
    ids=["one-hot", "a column for every place", "a column for every id", "as many places as ids"],
)
def test_ids_become_features_of_this_width(forms, rules, vocabulary, width):
    counting, columns = rules
    forms.force(features_are_faster=True, loop_is_faster=False, counting_is_faster=counting, columns_are_faster=columns)
    module = FusedLSTM(vocabulary, H, 2, bidirectional=True, dtype=torch.float64)
    x = torch.tensor([[vocabulary - 1, 0, vocabulary - 1]]).expand(6, 3).clone()
    network = _network(module)
    network, features = run.with_features(network, x, network.sizes(6, 3, 18), grad=True)
    assert features.shape == (6, 3, width)
    assert [w.shape[1] for w in network.weights.flat[::4]] == [width, width, 2 * H, 2 * H]
    same(module, x)


@pytest.mark.parametrize("form", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("bad", [-1, 200])
def test_every_form_refuses_a_bad_id(forms, form, bad):
    forms.force(features_are_faster=True, counting_is_faster=form[0], columns_are_faster=form[1])
    x = torch.zeros(6, 3, dtype=torch.int64)
    x[4, 1] = bad
    with pytest.raises(IndexError, match=rf"^token ids: expected 0 to 199 \(input_size - 1\), got .*{bad}"):
        FusedLSTM(200, H)(x)


def _network(module):
    return Network("lstm", Weights(list(module.parameters()), 2, bias=True, projected=False), False)


@pytest.mark.parametrize("backend", ["auto", "aten"])
@pytest.mark.parametrize("bad", [-1, I])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_id_is_refused_unless_it_is_past_its_sample(kind, backend, bad):
    module, x = KINDS[kind](I, H, backend=backend), torch.randint(I, (T, B))
    x[3, 1] = bad
    for call in (lambda: module(x), lambda: module(x, lengths=LENGTHS), lambda: module(x[3:4])):
        with pytest.raises(IndexError, match=rf"token ids: expected 0 to 4 \(input_size - 1\), got .*{bad}"):
            call()
    x[3, 1], x[2, 0] = 0, bad
    x[2:, 0] = bad
    output, _ = module(x, lengths=LENGTHS)
    x[2:, 0] = 0
    torch.testing.assert_close(output, module(x, lengths=LENGTHS)[0], rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_comes_from_the_padding(forms, kind, value):
    forms.force(padded_is_faster=True, loop_is_faster=False)
    module = KINDS[kind](I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I)
    found = []
    for filler in (0.0, value):
        for sample, n in enumerate(LENGTHS):
            x[n:, sample] = filler
        given = x.clone().requires_grad_()
        output, finals = module(given, lengths=LENGTHS)
        (output.sum() + sum(t.sum() for t in flat(finals))).backward()
        found.append([output, *flat(finals), given.grad, *(p.grad for p in module.parameters())])
        module.zero_grad()
    assert ("run_sorted" if kind == "rnn" else "run_padded") in forms
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    for sample, n in enumerate(LENGTHS):
        assert not found[0][0][n:, sample].any()
        assert not given.grad[n:, sample].any()


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("kind", KINDS)
def test_large_weights_do_not_open_the_gates_in_the_padding(forms, kind, scale):
    forms.force(padded_is_faster=True, loop_is_faster=False)
    module, x = build(kind, {"bidirectional": True}, False)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(scale)
    same(module, x, None, lengths=LENGTHS)


def test_a_reversed_lstm_from_a_given_state_is_packed(forms):
    forms.force(padded_is_faster=True)
    module, x = build("lstm", {"bidirectional": True}, False)
    zero = torch.zeros(2, B, H, dtype=torch.float64)
    for h, padded in ((zero, True), (zero.clone().requires_grad_(), False), (zero + 1, False)):
        forms.clear()
        same(module, x, (h, zero + 2), lengths=LENGTHS)
        assert ("run_padded" in forms) == padded


def test_samples_of_all_steps_run_as_they_are(forms, monkeypatch):
    monkeypatch.setattr(cost, "padded_is_faster", lambda sizes, **modes: sizes.padding > 0)
    module, x = build("lstm", {}, False)
    same(module, x, lengths=torch.full((B,), T))
    packed = pack_padded_sequence(x.detach(), torch.full((B,), T))
    same(module, packed)
    assert not forms


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_of_every_form(forms, kind):
    forms.force(padded_is_faster=True, features_are_faster=True, steps_alone_are_faster=False, loop_is_faster=False)
    module, x = build(kind, {}, False)
    module.backend = "aten"
    few, lengths = x[:2, :2].detach().requires_grad_(), torch.tensor([1, 2])

    def run_both(given, weight):
        module.weight_hh_l0.data = weight.data
        return module(given, lengths=lengths)[0]

    assert torch.autograd.gradgradcheck(lambda given: module(given, lengths=lengths)[0], (few,))
    assert ("run_sorted" if kind == "rnn" else "run_padded") in forms


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [0, -1, T + 1])
def test_bad_lengths_are_refused_before_any_form_runs(forms, kind, padded, dtype, bad):
    forms.force(padded_is_faster=padded)
    lengths = torch.tensor([2, bad, T], dtype=dtype)
    low, high = min(bad, 2), max(bad, T)
    with pytest.raises(ValueError, match=rf"^lengths: expected 1 to {T} \(the number of steps\), got {low} to {high}$"):
        KINDS[kind](I, H)(torch.randn(T, B, I), lengths=lengths)
    assert not forms


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_of_both_dtypes_take_the_short_way(kind, dtype, monkeypatch):
    module, x = KINDS[kind](I, H), torch.randn(T, B, I)
    expected = module(x, lengths=LENGTHS, hx=None)[0]
    monkeypatch.setattr("fusedrnn.backends.dispatch.run", None)
    with torch.no_grad():
        torch.testing.assert_close(module(x, lengths=LENGTHS.to(dtype))[0], expected)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_features_of_a_few_ids_among_much_padding_stay_small(kind, grad, monkeypatch):
    sizes = []
    original = run.with_features
    monkeypatch.setattr(
        run,
        "with_features",
        lambda *args, **kwargs: (found := original(*args, **kwargs), sizes.append(found[1].numel()))[0],
    )
    lengths = torch.ones(500, dtype=torch.int64)
    lengths[0] = 40
    with torch.set_grad_enabled(grad):
        output, _ = KINDS[kind](30_000, 4)(torch.randint(30_000, (40, 500)), lengths=lengths)
    assert output.shape == (40, 500, 4)
    assert all(size < 40 * 500 * 100 for size in sizes)
