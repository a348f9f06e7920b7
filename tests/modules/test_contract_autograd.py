"""Rules of differentiation against torch.nn itself, on every backend; the kernels on one small case of each."""

import pytest
import torch
from contract_cases import BACKENDS, CELLS, LAYERS, flat, hx_of, is_lstm, tensors, total, twins
from torch import nn


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def pair(request):
    return request.param


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def grads(loss, wanted):
    return torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True)


def same(got, expected):
    for a, b in zip(got, expected, strict=True):
        if b is None or a is None:  # where torch says None, zeros are as good
            assert all(t is None or not t.any() for t in (a, b))
        else:
            torch.testing.assert_close(a, b, rtol=2e-5, atol=5e-6)


def test_a_loss_on_any_part_of_the_result(pair, backend):
    theirs, ours = twins(pair, 3, 4, 2, backend=backend)
    x, hx = torch.randn(3, 2, 3, requires_grad=True), hx_of(ours, 2, 2, 4, requires_grad=True)
    wanted = [x, *flat(hx)]
    a, b = tensors(ours(x, hx)), tensors(theirs(x, hx))
    for part in (*range(len(a)), None):
        losses = [total(r if part is None else [r[part]]) for r in (a, b)]
        found = [grads(loss, [*wanted, *m.parameters()]) for loss, m in zip(losses, (ours, theirs), strict=True)]
        same(*found)


def test_only_what_asks_gets_a_gradient(pair, backend):
    ours = pair[1](3, 4, backend=backend)
    x, hx = torch.randn(2, 2, 3, requires_grad=True), hx_of(ours, 1, 2, 4)
    full = torch.autograd.grad(total(ours(x, hx)), [x, *ours.parameters()])
    ours.requires_grad_(False)
    total(ours(x, hx)).backward()
    torch.testing.assert_close(x.grad, full[0])
    assert all(p.grad is None for p in ours.parameters())
    ours.bias_hh_l0.requires_grad_(True)
    total(ours(x.detach(), hx)).backward()
    torch.testing.assert_close(ours.bias_hh_l0.grad, full[4])
    assert ours.weight_hh_l0.grad is None
    assert not ours.requires_grad_(False)(x.detach(), hx)[0].requires_grad
    with torch.inference_mode():
        assert ours(x, hx)[0].is_inference()


def test_a_graph_accumulates_and_is_used_once(pair, backend):
    ours = pair[1](3, 4, backend=backend)
    loss = total(ours(torch.randn(2, 2, 3)))
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in ours.parameters()]
    loss.backward()
    assert all(torch.equal(p.grad, 2 * g) for p, g in zip(ours.parameters(), once, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@pytest.mark.parametrize("what", ["x", "hx", "weight_ih_l0", "weight_hh_l0"])
def test_what_changed_before_the_backward_is_an_error(pair, backend, what):
    ours = pair[1](3, 4, backend=backend)
    x, hx = torch.randn(2, 2, 3), hx_of(ours, 1, 2, 4)
    leaves = [x, *flat(hx)]
    for leaf in leaves:
        leaf.requires_grad_()
    loss = total(ours(x, hx))
    with torch.no_grad():
        {"x": x, "hx": flat(hx)[0]}.get(what, getattr(ours, what, None)).add_(1)
    with pytest.raises(RuntimeError, match=r"modified (by an )?inplace"):
        loss.backward()


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


@pytest.mark.parametrize("steps", [3, 33], ids=["short", "long"])
def test_third_derivatives_are_torchs(pair, backend, steps):
    if backend == "triton":
        steps = 3  # interpreted
    found = []
    for module in twins(pair, 2, 3, dtype=torch.float64, backend=backend):
        torch.manual_seed(3)
        x = (0.3 * torch.randn(steps, 1, 2, dtype=torch.float64)).requires_grad_()
        loss = total(module(x))
        for _ in range(2):
            loss = sum(
                g.square().sum() for g in torch.autograd.grad(loss, [x, *module.parameters()], create_graph=True)
            )
        found.append(torch.autograd.grad(loss, [x, *module.parameters()]))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


def test_second_derivatives_are_torchs(pair, backend):
    found = []
    for module in twins(pair, 3, 4, dtype=torch.float64, backend=backend):
        torch.manual_seed(3)
        x = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(total(module(x)), [x, *module.parameters()], create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), [x, *module.parameters()]))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_expanded_gradients_and_repeated_runs(pair, backend):
    ours, x = pair[1](3, 4, bidirectional=True, backend=backend), torch.randn(2, 2, 3)
    found = []
    for grad in (torch.ones(()).expand(2, 2, 8), torch.ones(2, 2, 8), torch.ones(2, 2, 8)):
        output, _ = ours(x)
        found.append([output, *torch.autograd.grad(output, list(ours.parameters()), grad)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_one_tensor_for_both_states_of_an_lstm(backend):
    theirs, ours = twins(LAYERS["lstm"], 3, 4, backend=backend)
    x, both = torch.randn(2, 2, 3), torch.randn(1, 2, 4, requires_grad=True)
    same(*([torch.autograd.grad(total(m(x, (both, both))), both)[0]] for m in (ours, theirs)))


# transforms


@pytest.mark.parametrize("backend", ["aten", "reference"])
def test_transforms_give_what_torchs_give(pair, backend):
    theirs, ours = twins(pair, 2, 3, dtype=torch.float64, backend=backend)
    x = torch.randn(3, 1, 2, dtype=torch.float64)
    found = []
    for module in (ours, theirs):

        def output(x, module=module):
            return module(x)[0]

        def loss(x, module=module):
            return total(module(x))

        _, pull = torch.func.vjp(output, x)
        found.append(
            [
                torch.func.grad(loss)(x),
                *pull(torch.ones(3, 1, 3, dtype=torch.float64)),
                torch.func.jacrev(output)(x),
                torch.autograd.functional.jacobian(output, x),
                torch.func.grad(lambda x, loss=loss: torch.func.grad(loss)(x).square().sum())(x),
            ]
        )
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_compile_without_fullgraph(pair):
    torch.compiler.reset()
    ours, x = pair[1](3, 4), torch.randn(2, 2, 3)
    torch.testing.assert_close(torch.compile(ours, backend="eager")(x)[0], ours(x)[0])


# cells


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_a_cell_refuses_another_dtype_and_misses_of_dimensions(cells, backend):
    theirs, ours = twins(cells, 3, 4, backend=backend)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    for given, state in ((x.double(), None), (x, h.double()), (x, h[0]), (x[0], h)):
        hx = state if state is None or not is_lstm(ours) else (state, state)
        for cell in (theirs, ours):
            with pytest.raises((RuntimeError, ValueError)):
                cell(given, hx)


def test_a_projected_lstm_is_torchs_on_every_backend(backend):
    theirs, ours = twins(LAYERS["lstm"], 3, 4, 2, proj_size=2, bidirectional=True, backend=backend)
    x = torch.randn(2, 2, 3, requires_grad=True)
    hx = (torch.randn(4, 2, 2), torch.randn(4, 2, 4))
    found = [
        [*tensors(r), *torch.autograd.grad(total(r), [x, *m.parameters()])] for m in (ours, theirs) for r in [m(x, hx)]
    ]
    same(*found)
