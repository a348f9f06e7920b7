"""First derivatives as torch.nn's: which tensors get gradients and when it is an error, on every backend."""

import itertools

import pytest
import torch
from contract_cases import BACKENDS, INPUTS, LAYERS, PATHS, flat, hx_of, tensors, total, twins
from torch import nn
from torch.utils.checkpoint import checkpoint

NAMES = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(params=PATHS, ids="-".join)
def path(request):
    """A backend and a form of input."""
    return request.param


def built(kind, path):
    """A module of 3 features and 4 units on the backend of the path, and an input of its form."""
    backend, form = path
    return kind(3, 4, backend=backend), INPUTS[form]()


def grads(loss, wanted):
    return torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True)


def assert_same(got, expected, **tolerances):
    """Equal gradients; None, where torch has it or we do, is the same as zeros."""
    for a, b in zip(got, expected, strict=True):
        if b is None or a is None:
            assert all(t is None or not t.any() for t in (a, b))
        else:
            torch.testing.assert_close(a, b, **tolerances)


def rows_of(x, dtype):
    """The input that torch.nn takes: token ids as one-hot rows."""
    return x if x.is_floating_point() else nn.functional.one_hot(x, 3).to(dtype)


# which tensors get gradients


LOSSES = [
    *((backend, "floats", torch.float32, {}) for backend in BACKENDS),
    *((*path, torch.float64, {"bidirectional": True}) for path in PATHS if path[0] != "triton"),
]


@pytest.mark.parametrize(("backend", "form", "dtype", "options"), LOSSES, ids=str)
def test_a_loss_on_any_part_of_the_result(pair, backend, form, dtype, options):
    theirs, ours = twins(pair, 3, 4, 2, dtype=dtype, backend=backend, **options)
    x, hx = INPUTS[form](dtype), hx_of(ours, 2 * (1 + ours.bidirectional), 2, 4, dtype=dtype, requires_grad=True)
    wanted = [*flat(hx), *([x.requires_grad_()] if form == "floats" else [])]
    a, b = tensors(ours(x, hx)), tensors(theirs(rows_of(x, dtype), hx))
    tolerances = {} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 5e-6}
    for part in (*range(len(a)), None):
        losses = [total(r if part is None else [r[part]]) for r in (a, b)]
        found = [grads(loss, [*wanted, *m.parameters()]) for loss, m in zip(losses, (ours, theirs), strict=True)]
        assert_same(*found, **tolerances)


@pytest.mark.parametrize("free", [(), (0,), (1,), (2,), (3,), (0, 3), (1, 2)], ids=str)
def test_frozen_weights_get_none_and_the_others_their_gradient(kind, path, free):
    module, x = built(kind, path)
    total(module(x)).backward()
    expected = {name: getattr(module, name).grad.clone() for name in NAMES}
    module.zero_grad()
    for k, name in enumerate(NAMES):
        getattr(module, name).requires_grad_(k in free)
    loss = total(module(x))
    assert loss.requires_grad == bool(free)
    if free:
        loss.backward()
    for k, name in enumerate(NAMES):
        got = getattr(module, name).grad
        if k in free:
            torch.testing.assert_close(got, expected[name])
        else:
            assert got is None


def test_the_input_alone_or_the_states_alone_get_their_gradient(kind, path):
    module, x = built(kind, path)
    hx = hx_of(module, 1, 2, 4)
    groups = [flat(hx), *([[x]] if x.is_floating_point() else [])]
    for leaf in itertools.chain(*groups):
        leaf.requires_grad_()
    expected = [torch.autograd.grad(total(module(x, hx)), group) for group in groups]
    module.requires_grad_(False)
    for group, full in zip(groups, expected, strict=True):
        for leaf in itertools.chain(*groups):
            leaf.requires_grad_(leaf in set(group))
        total(module(x, hx)).backward()
        for leaf, grad in zip(group, full, strict=True):
            torch.testing.assert_close(leaf.grad, grad)
            assert grad.abs().sum() > 0
    assert all(p.grad is None for p in module.parameters())


def test_where_nothing_needs_a_gradient_there_is_no_graph(kind, path):
    module, x = built(kind, path)
    with torch.no_grad():
        assert all(not r.requires_grad for r in tensors(module(x)))
    with torch.inference_mode():
        assert module(x)[0].is_inference()
    assert not module.requires_grad_(False)(x)[0].requires_grad


@pytest.mark.parametrize("path", PATHS, ids="-".join)
def test_one_tensor_for_both_states_of_an_lstm_gets_the_sum(path):
    backend, form = path
    theirs, ours = twins(LAYERS["lstm"], 3, 4, backend=backend)
    x, both = INPUTS[form](), torch.randn(1, 2, 4, requires_grad=True)
    same = rows_of(x, torch.float32)
    found = [torch.autograd.grad(total(m(given, (both, both))), both) for m, given in ((ours, x), (theirs, same))]
    assert_same(*found, rtol=2e-5, atol=5e-6)


def test_a_projected_lstm_is_torchs_on_every_backend(backend):
    theirs, ours = twins(LAYERS["lstm"], 3, 4, 2, proj_size=2, bidirectional=True, backend=backend)
    x = torch.randn(2, 2, 3, requires_grad=True)
    hx = (torch.randn(4, 2, 2), torch.randn(4, 2, 4))
    found = [
        [*tensors(r), *torch.autograd.grad(total(r), [x, *m.parameters()])] for m in (ours, theirs) for r in [m(x, hx)]
    ]
    assert_same(*found, rtol=2e-5, atol=5e-6)


# graphs


def test_gradients_accumulate_and_a_graph_is_used_once(kind, path):
    module, x = built(kind, path)
    loss = total(module(x))
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in module.parameters()]
    loss.backward()
    assert all(torch.equal(p.grad, 2 * g) for p, g in zip(module.parameters(), once, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


CHANGES = [(path, what) for path in PATHS for what in ("x", "x without gradient", "hx", *NAMES[:2])]
CHANGES.remove((("reference", "ids"), "weight_ih_l0"))  # selects columns: its gradient reads no weight
for copied in ("x", "x without gradient", "weight_ih_l0"):  # into features for torch's function
    CHANGES.remove((("aten", "ids"), copied))


@pytest.mark.parametrize(("path", "what"), CHANGES, ids=lambda p: p if isinstance(p, str) else "-".join(p))
def test_a_change_in_place_before_the_backward_is_an_error(kind, path, what):
    module, x = built(kind, path)
    hx = hx_of(module, 1, 2, 4, requires_grad=True)
    x.requires_grad_(x.is_floating_point() and what != "x without gradient")
    loss = total(module(x, hx))
    with torch.no_grad():
        {"x": x, "x without gradient": x, "hx": flat(hx)[0]}.get(what, getattr(module, what, None)).add_(1)
    message = r"modified (by an )?inplace" if what == "hx" else "modified by an inplace operation"
    with pytest.raises(RuntimeError, match=message):
        loss.backward()


@pytest.mark.parametrize("what", ["x", "weight_ih_l0"])
def test_a_change_in_place_of_what_was_copied_is_an_error_or_changes_no_gradient(kind, what):
    module, x = built(kind, ("aten", "ids"))
    names = ("weight_ih_l0", "weight_hh_l0")
    expected = torch.autograd.grad(total(module(x)), [getattr(module, name) for name in names])
    loss = total(module(x))
    with torch.no_grad():
        (x if what == "x" else module.weight_ih_l0).add_(1)
    try:
        found = torch.autograd.grad(loss, [getattr(module, name) for name in names])
    except RuntimeError as error:
        message = str(error)
    else:
        message = "inplace" if all(map(torch.equal, found, expected)) else "other gradients"
    assert "inplace" in message


@pytest.mark.parametrize("steps", [2, 33], ids=["short", "long"])
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "weight_hh_l0_reverse"])
def test_a_changed_weight_of_two_directions_is_an_error_where_it_is_torchs(pair, backend, name, steps):
    theirs, ours = (
        kind(3, 4, bidirectional=True, **chosen) for kind, chosen in zip(pair, ({}, {"backend": backend}), strict=True)
    )
    steps = min(steps, 3) if backend == "triton" else steps  # interpreted
    raised = []
    for module in (theirs, ours):
        loss = total(module(torch.randn(steps, 2, 3, requires_grad=True)))
        with torch.no_grad():
            getattr(module, name).add_(1)
        message = ""
        try:
            loss.backward()
        except RuntimeError as error:
            message = str(error)
        raised.append("inplace" in message)
    assert raised[1] or not raised[0]
    assert raised[1] or backend == "aten"  # which is torch's own


@pytest.mark.parametrize("steps", [31, 32])
def test_a_grus_output_may_be_changed_in_place_as_torchs(steps):
    theirs, ours = twins(LAYERS["gru"], 3, 4)
    x = torch.randn(steps, 2, 3)
    for module in (theirs, ours):
        output, _ = module(x)
        nn.functional.relu(output, inplace=True).sum().backward()
    for got, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad)


def test_expanded_gradients_are_taken(pair, backend):
    ours, x = pair[1](3, 4, bidirectional=True, backend=backend), torch.randn(2, 2, 3)
    found = []
    for grad in (torch.ones(()).expand(2, 2, 8), torch.ones(2, 2, 8)):
        output, _ = ours(x)
        found.append([output, *torch.autograd.grad(output, list(ours.parameters()), grad)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


RUNS = [(path, 33, {"num_layers": 2}) for path in PATHS if path[0] != "triton"]
RUNS += [((backend, "floats"), 4, {"bidirectional": True}) for backend in BACKENDS]


@pytest.mark.parametrize(("path", "hidden", "options"), RUNS, ids=str)
def test_two_runs_give_the_same_bits(kind, path, hidden, options):
    backend, form = path
    module, x = kind(3, hidden, backend=backend, **options), INPUTS[form]()
    runs = []
    for _ in range(2):
        result = module(x)
        runs.append([*tensors(result), *torch.autograd.grad(total(result), list(module.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


# hooks and checkpoints


def test_checkpointing_and_saved_tensor_hooks_change_nothing(kind, path):
    module, x = built(kind, path)
    ways = [
        lambda: module(x)[0],
        lambda: checkpoint(lambda given: module(given)[0], x, use_reentrant=False),
        lambda: module(x)[0],
    ]
    found = []
    for k, way in enumerate(ways):
        module.zero_grad()
        with torch.autograd.graph.save_on_cpu() if k == 2 else torch.enable_grad():
            way().sin().sum().backward()
        found.append([p.grad.clone() for p in module.parameters()])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_hooks_see_and_may_replace(kind):
    module, seen = kind(3, 4), []
    module.register_forward_pre_hook(lambda m, given: seen.append("before"))
    module.register_forward_hook(lambda m, given, result: (result[0] * 2, result[1]))
    module.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append("backward"))
    module.weight_hh_l0.register_hook(lambda grad: seen.append("weight"))
    x = torch.randn(5, 2, 3, requires_grad=True)
    output, _ = module(x)
    output.sum().backward()
    assert sorted(seen) == ["backward", "before", "weight"]
    plain = kind(3, 4)
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(output, 2 * plain(x)[0])
