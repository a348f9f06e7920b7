"""Calls: forms of input and state, what is refused and in which order, packed order, batches of none, on every backend."""

import itertools

import pytest
import torch
from contract_cases import BACKENDS, LAYERS, error_of, flat, hx_of, tensors, total, twins
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from fusedrnn import FusedLSTM

X = torch.randn(5, 2, 3)


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def pair(request):
    return request.param


@pytest.fixture(params=["reference", "aten"])
def backend(request):
    return request.param


def some_on_triton(names, cases, chosen):
    """Every case on every backend, but in the interpreter, which is slow, only the chosen ones."""
    found = [(b, *case) for b in BACKENDS for case in cases if b != "triton" or case in chosen]
    return pytest.mark.parametrize(("backend", *names), found, ids=lambda p: str(p))


def agree(theirs, ours, *args, **options):
    """Both modules return the same kinds, shapes and, to a few roundings, numbers."""
    expected, got = theirs(*args, **options), ours(*args, **options)
    assert type(got) is type(expected) is tuple
    assert type(got[1]) is type(expected[1])
    for a, b in zip(tensors(got), tensors(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)
    return got


# forms


FORMS = ["batched", "batch first", "unbatched", "unbatched, batch first"]


@some_on_triton(
    ["form", "given"],
    list(itertools.product(FORMS, ["no hx", "hx", "hx as list"])),
    [("batch first", "hx"), ("unbatched", "no hx")],
)
def test_every_form_of_input_and_state(pair, backend, form, given):
    theirs, ours = twins(pair, 3, 4, 2, batch_first="first" in form, bidirectional=True, backend=backend)
    x = X[:, 0] if "unbatched" in form else X.transpose(0, 1) if "first" in form else X
    hx = None if given == "no hx" else hx_of(ours, 4, *([] if "unbatched" in form else [2]), 4)
    if given == "hx as list" and isinstance(hx, tuple):
        result = ours(input=x, hx=list(hx))  # torch takes a list too, but not beside batch_first
        assert all(torch.equal(a, b) for a, b in zip(tensors(result), tensors(ours(x, hx)), strict=True))
    else:
        agree(theirs, ours, input=x, hx=hx)


def test_layouts_of_memory_do_not_matter(pair, backend):
    theirs, ours = twins(pair, 3, 4, 2, bidirectional=True, backend=backend)
    x = torch.randn(1, 1, 3).expand(5, 2, 3)
    strided = torch.randn(5, 2, 6)[..., ::2]
    transposed = torch.randn(3, 2, 5).permute(2, 1, 0)
    h = torch.randn(2, 4, 8).transpose(0, 1)[..., ::2]
    zero_stride = torch.randn(4).expand(4, 2, 4)
    for given, state in itertools.product((x, strided, transposed), (h, zero_stride)):
        kept = [given.clone(), state.clone()]
        agree(theirs, ours, given, (state, state) if pair[1] is FusedLSTM else state)
        assert torch.equal(given, kept[0])
        assert torch.equal(state, kept[1])


@some_on_triton(["steps"], [(1,), (2,)], [(1,)])
def test_results_share_no_memory(pair, backend, steps):
    ours = pair[1](3, 3, 2, bidirectional=True, backend=backend)
    for x in (torch.randn(steps, 1, 3), torch.randn(steps, 3)):
        hx = hx_of(ours, 4, *([1] if x.dim() == 3 else []), 3)
        results = tensors(ours(x, hx))
        given = [x, *flat(hx)]
        pointers = {t.untyped_storage().data_ptr() for t in (*results, *given)}
        assert len(pointers) == len(results) + len(given)
        with torch.no_grad():
            for result in results:
                result.add_(1)
        assert all(torch.equal(a, b + 1) for a, b in zip(results, tensors(ours(x, hx)), strict=True))


def test_default_states_are_zeros_and_draw_nothing(pair, backend):
    theirs, ours = twins(pair, 3, 4, 2, backend=backend)
    state = torch.get_rng_state()
    zeros = torch.zeros(2, 2, 4)
    got = ours(X)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(tensors(got), tensors(ours(X, (zeros, zeros) if pair[1] is FusedLSTM else zeros)), strict=True):
        assert torch.equal(a, b)
    agree(theirs, ours, X)


@some_on_triton(["training"], [(True,), (False,)], [(True,), (False,)])
def test_no_samples_at_all(pair, backend, training):
    module = pair[1](3, 4, 2, bidirectional=True, dropout=0.5, backend=backend).train(training)
    x = torch.randn(5, 0, 3, requires_grad=True)
    output, states = module(x, hx_of(module, 4, 0, 4))
    assert output.shape == (5, 0, 8)
    assert all(s.shape == (4, 0, 4) for s in flat(states))
    total((output, states)).backward()
    assert x.grad.shape == (5, 0, 3)
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


# errors


H = torch.randn(2, 2, 4)
BAD = {
    "1-D": (torch.randn(3), H),
    "4-D": (torch.randn(1, 5, 2, 3), H),
    "0-D": (torch.tensor(1.0), None),
    "dtype": (X.double(), None),
    "dtype with hx": (X.double(), H),
    "half": (X.half(), None),
    "features": (torch.randn(5, 2, 4), None),
    "features, unbatched": (torch.randn(5, 4), None),
    "hx without a batch": (X, H[0]),
    "hx with a batch": (X[:, 0], H),
    "hx 4-D": (X, H[None]),
    "hx batch": (X, H[:, :1]),
    "hx layers": (X, H[:1]),
    "hx features": (X, H[..., :3]),
    "hx dtype": (X, H.double()),
    "no steps": (X[:0], None),
    "no steps with hx": (X[:0], H),
    "no steps, unbatched": (X[:0, 0], None),
    # two faults: the one that torch names first
    "features and hx dims": (torch.randn(5, 2, 4), H[0]),
    "features and hx size": (torch.randn(5, 2, 4), H[:1]),
    "dims and dtype": (torch.randn(3).double(), H),
    "dtype and features": (torch.randn(5, 2, 4).double(), None),
    "dtype and hx dims": (X.double(), H[0]),
    "dtype and hx size": (X.double(), H[:1]),
    "no steps and hx size": (X[:0], H[:1]),
    "no steps and features": (torch.randn(0, 2, 4), None),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_bad_call_is_refused_with_torchs_type_of_error(pair, backend, case):
    theirs, ours = twins(pair, 3, 4, 2, backend=backend)
    x, h = case
    hx = None if h is None else (h, h) if pair[1] is FusedLSTM else h
    expected, got = (error_of(lambda m=m: m(x, hx)) for m in (theirs, ours))
    assert isinstance(got, RuntimeError | ValueError)
    if h is None or h.dtype == torch.float32:  # else torch leaves it to the product
        assert type(got) is type(expected), expected
        assert str(got).removeprefix("Fused")[:25] == str(expected)[:25]
    assert "\n" not in str(got)


def test_the_first_of_two_bad_states_is_named(backend):
    for h, c, message in ((H[:1], H[:, :1], r"Expected hidden\[0\] size"), (H, H[:, :1], r"Expected hidden\[1\] size")):
        with pytest.raises(RuntimeError, match=message):
            FusedLSTM(3, 4, 2, backend=backend)(X, (h, c))


@pytest.mark.parametrize("bad", [[1.0, 2.0], None, "x"], ids=repr)
def test_what_is_no_tensor_is_refused(pair, backend, bad):
    theirs, ours = twins(pair, 3, 4, backend=backend)
    for module in (theirs, ours):
        with pytest.raises((AttributeError, TypeError, ValueError)):
            module(bad)


# packed sequences


def packed_of(lengths, enforce_sorted=False, dtype=torch.float32):
    return pack_sequence([torch.randn(n, 3, dtype=dtype) for n in lengths], enforce_sorted=enforce_sorted)


PACKED = list(itertools.product([[3, 5, 1, 5], [2, 4, 6], [6, 4, 4, 1]], [True, False], [True, False]))


@some_on_triton(["lengths", "batch_first", "given"], [([1, 3, 2], True, True), *PACKED], [([1, 3, 2], True, True)])
def test_states_of_packed_samples_are_in_the_users_order(pair, backend, lengths, batch_first, given):
    theirs, ours = twins(pair, 3, 4, 2, bidirectional=True, batch_first=batch_first, backend=backend)
    hx = hx_of(ours, 4, len(lengths), 4) if given else None
    for packed in (packed_of(lengths), packed_of(sorted(lengths, reverse=True), enforce_sorted=True)):
        output, states = agree(theirs, ours, packed, hx)
        assert type(output) is PackedSequence
        for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            assert getattr(output, name) is getattr(packed, name)
        padded, sizes = pad_packed_sequence(output)
        inputs, _ = pad_packed_sequence(packed)
        for b, n in enumerate(sizes):
            assert not padded[n:, b].any()
            own_hx = None if hx is None else (hx[0][:, b], hx[1][:, b]) if isinstance(hx, tuple) else hx[:, b]
            alone = ours(inputs[:n, b], own_hx)
            torch.testing.assert_close(padded[:n, b], alone[0], rtol=1e-5, atol=2e-6)
            for state, own in zip(flat(states), flat(alone[1]), strict=True):
                torch.testing.assert_close(state[:, b], own, rtol=1e-5, atol=2e-6)


def test_packed_rows_get_gradients_through_dropout(pair, backend):
    module = pair[1](3, 16, 2, dropout=0.5, backend=backend)
    packed = packed_of([3, 5, 1])
    rows = packed.data.requires_grad_()
    output, _ = module(packed)
    torch.manual_seed(1)
    first = module(packed)[0].data
    torch.manual_seed(1)
    assert torch.equal(module(packed)[0].data, first)
    assert not torch.equal(output.data, first)
    total(output).backward()
    assert (rows.grad.abs().sum(1) > 0).all()


def test_packed_input_of_the_wrong_kind_is_refused(pair, backend):
    theirs, ours = twins(pair, 3, 4, 2, backend=backend)
    wrong_state = hx_of(ours, 2, 5, 4)
    for packed, hx in (
        (packed_of([3, 1], dtype=torch.float64), None),
        (packed_of([3, 1], enforce_sorted=True), wrong_state),
        (packed_of([3, 1], enforce_sorted=True), hx_of(ours, 3, 2, 4)),
        (packed_of([3, 1], enforce_sorted=True), hx_of(ours, 2, 2, 5)),
    ):
        expected, got = (error_of(lambda m=m, p=packed, h=hx: m(p, h)) for m in (theirs, ours))
        assert isinstance(got, RuntimeError | ValueError)
        if pair[1] is not FusedLSTM:
            assert type(got) is type(expected)
    with pytest.raises(RuntimeError, match="Expected 3, got 4"):
        ours(pack_sequence([torch.randn(2, 4)]))


# dropout and dtypes


@some_on_triton(["training"], [(True,), (False,)], [])
def test_dropout_scales_what_it_keeps_afresh_at_every_step(pair, backend, training):
    module = pair[1](3, 64, 2, dropout=0.25, backend=backend).train(training)
    with torch.no_grad():
        for name in ("weight_hh_l1", "bias_ih_l1", "bias_hh_l1"):
            getattr(module, name).zero_()
        rows = module.weight_ih_l1.shape[0]
        module.weight_ih_l1.copy_(torch.eye(64).repeat(rows // 64, 1) * 1e-2)  # the second layer reads each unit alone
    x = torch.randn(1, 40, 3).expand(6, 40, 3)
    output, states, every = module(x, return_all_states=True)
    inputs = every[0] if pair[1] is not FusedLSTM else every[0][0]
    (through,) = torch.autograd.grad(
        output.sum(), inputs
    )  # exactly zero where the input of the second layer was dropped
    dropped = through == 0
    assert dropped.float().mean().item() == pytest.approx(0.25 * training, abs=0.03)
    clean = pair[1](64, 64)
    clean.load_state_dict({n.replace("l1", "l0"): v for n, v in module.state_dict().items() if "l1" in n})
    undropped, _ = clean(inputs)
    if training:
        assert not torch.equal(dropped[0], dropped[1])  # a mask for each step, not one for all
        scale = (output[0] / undropped[0])[~dropped[0]]  # the second layer is nearly linear in so small an input
        assert scale.median().item() == pytest.approx(1 / 0.75, rel=0.02)
    else:
        torch.testing.assert_close(output, undropped)
    torch.testing.assert_close(flat(states)[0][0], inputs[-1])


@some_on_triton(["dtype"], [(torch.float64,), (torch.float16,), (torch.bfloat16,)], [(torch.float16,)])
def test_results_and_gradients_have_the_dtype_of_the_input(pair, backend, dtype):
    theirs, ours = twins(pair, 3, 4, 2, dtype=dtype, backend=backend)
    x = torch.randn(5, 2, 3).to(dtype).requires_grad_()
    found = []
    for module in (theirs, ours):
        result = module(x)
        assert all(t.dtype == dtype for t in tensors(result))
        found.append([*tensors(result), *torch.autograd.grad(total(result), [x, *module.parameters()])])
    tolerance = {torch.float64: 1e-12, torch.float16: 2e-2, torch.bfloat16: 0.2}[dtype]  # some ten roundings of sums
    for expected, got in zip(*found, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
