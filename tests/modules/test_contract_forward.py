"""Calls as torch.nn's: forms of input and state, memory layouts, empty batches, and which errors are raised first."""

import itertools

import pytest
import torch
from contract_cases import agree, error_of, flat, hx_of, some_on_triton, tensors, total, twins

from fusedrnn import FusedLSTM

X = torch.randn(5, 2, 3)
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


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one layer", "stacked"])
def test_layouts_of_memory_do_not_matter(pair, backend, options):
    theirs, ours = twins(pair, 3, 4, backend=backend, **options)
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    expanded = torch.randn(1, 1, 3).expand(5, 2, 3)
    strided = torch.randn(5, 2, 6)[..., ::2]
    transposed = torch.randn(3, 2, 5).permute(2, 1, 0)
    h = torch.randn(2, rows, 8).transpose(0, 1)[..., ::2]
    zero_stride = torch.randn(4).expand(rows, 2, 4)
    for given, state in itertools.product((expanded, strided, transposed), (h, zero_stride)):
        kept = [given.clone(), state.clone()]
        got = agree(theirs, ours, given, (state, state) if pair[1] is FusedLSTM else state)
        assert torch.equal(given, kept[0])
        assert torch.equal(state, kept[1])
        x, same = given.contiguous(), state.contiguous()
        assert torch.equal(got[0], ours(x, (same, same) if pair[1] is FusedLSTM else same)[0])


@some_on_triton(["steps", "stacked"], list(itertools.product((1, 2), (True, False))), [(1, True), (1, False)])
def test_results_share_no_memory_and_nothing_given_is_modified(pair, backend, steps, stacked):
    ours = pair[1](3, 3, 1 + stacked, bidirectional=stacked, backend=backend)
    for x in (torch.randn(steps, 1 if stacked else 2, 3), torch.randn(steps, 3)):
        hx = hx_of(ours, 4 if stacked else 1, *x.shape[1:-1], 3)
        given = [x, *flat(hx)]
        before = [t.clone() for t in given]
        results = tensors(ours(x, hx))
        pointers = {t.untyped_storage().data_ptr() for t in (*results, *given)}
        assert len(pointers) == len(results) + len(given)
        assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
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


EMPTY = list(itertools.product([True, False], ["floats", "floats and hx", "ids"]))


@some_on_triton(["training", "given"], EMPTY, [(True, "floats and hx"), (False, "floats and hx")])
def test_an_empty_batch_gives_empty_results_and_zero_gradients(pair, backend, training, given):
    module = pair[1](3, 4, 2, bidirectional=True, dropout=0.5, backend=backend).train(training)
    ids = given == "ids"
    x = torch.zeros(5, 0, dtype=torch.int64) if ids else torch.randn(5, 0, 3, requires_grad=True)
    output, states = module(x, hx_of(module, 4, 0, 4) if "hx" in given else None)
    assert output.shape == (5, 0, 8)
    assert all(s.shape == (4, 0, 4) for s in flat(states))
    total((output, states)).backward()
    assert ids or x.grad.shape == (5, 0, 3)
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
