"""Derivatives through the modules: frozen parts, repeated and second derivatives, transforms, saved values that changed."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.checkpoint import checkpoint

from fusedrnn import FusedGRU, FusedLSTM

CELLS = {"gru": FusedGRU, "lstm": FusedLSTM}
INPUTS = {
    "floats": lambda dtype: torch.randn(3, 2, 3, dtype=dtype),
    "ids": lambda dtype: torch.tensor([[0, 2], [1, 1], [2, 0]]),
}
PATHS = list(itertools.product(["aten", "reference"], INPUTS))


@pytest.fixture(params=CELLS.values(), ids=CELLS)
def cell(request):
    return request.param


@pytest.fixture(params=PATHS, ids=lambda path: "-".join(path))
def path(request):
    """A backend and a form of input; aten runs ids on the unrolled sweeps, floats on torch's RNN."""
    return request.param


def flat(states):
    return [states] if isinstance(states, torch.Tensor) else list(states)


def loss(module, *given):
    output, states = module(*given)
    return sum((s.sin().sum() for s in flat(states)), output.cos().sum())


def states_of(module, *shape):
    h, c = torch.randn(*shape, requires_grad=True), torch.randn(*shape, requires_grad=True)
    return (h, c) if isinstance(module, FusedLSTM) else h


NAMES = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


@pytest.mark.parametrize("free", [(), (0,), (1,), (2,), (3,), (0, 3), (1, 2)], ids=str)
def test_frozen_weights_get_none_and_the_others_their_gradient(cell, path, free):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
    loss(module, x).backward()
    expected = {name: getattr(module, name).grad.clone() for name in NAMES}
    module.zero_grad()
    for k, name in enumerate(NAMES):
        getattr(module, name).requires_grad_(k in free)
    total = loss(module, x)
    assert total.requires_grad == bool(free)
    if free:
        total.backward()
    for k, name in enumerate(NAMES):
        got = getattr(module, name).grad
        if k in free:
            torch.testing.assert_close(got, expected[name])
        else:
            assert got is None


def test_states_alone_get_gradients(cell, path):
    backend, form = path
    module = cell(3, 4, backend=backend).requires_grad_(False)
    hx = states_of(module, 1, 2, 4)
    loss(module, INPUTS[form](torch.float32), hx).backward()
    assert all(s.grad.abs().sum() > 0 for s in flat(hx))


def test_one_tensor_for_both_states_gets_the_sum(path):
    backend, form = path
    module, x = FusedLSTM(3, 4, backend=backend), INPUTS[form](torch.float32)
    same = torch.randn(1, 2, 4, requires_grad=True)
    pair = [same.detach().clone().requires_grad_() for _ in range(2)]
    loss(module, x, (same, same)).backward()
    loss(module, x, pair).backward()
    torch.testing.assert_close(same.grad, pair[0].grad + pair[1].grad)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["output", "h_n", "c_n"])
def test_a_loss_on_one_result_has_torchs_gradients(path, part):
    backend, form = path
    x = INPUTS[form](torch.float64)
    rows = nn.functional.one_hot(x, 3).double() if form == "ids" else x
    gradients = []
    for kind, given, chosen in ((FusedLSTM, x, {"backend": backend}), (nn.LSTM, rows, {})):
        torch.manual_seed(2)
        module = kind(3, 4, 2, bidirectional=True, dtype=torch.float64, **chosen)
        output, states = module(given)
        (output, *states)[part].sin().sum().backward()
        gradients.append([p.grad for p in module.parameters()])
    for got, expected in zip(*gradients, strict=True):
        if expected is not None or got is not None:
            zeros = torch.zeros(())
            torch.testing.assert_close(zeros if got is None else got, zeros if expected is None else expected)


def test_without_need_there_is_no_graph(cell, path):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
    with torch.no_grad():
        assert all(not r.requires_grad for r in (module(x)[0], *flat(module(x)[1])))
    with torch.inference_mode():
        assert module(x)[0].is_inference()
    assert not module.requires_grad_(False)(x)[0].requires_grad


def test_gradients_accumulate_and_a_graph_is_used_once(cell, path):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
    total = loss(module, x)
    total.backward(retain_graph=True)
    once = [p.grad.clone() for p in module.parameters()]
    total.backward()
    for parameter, grad in zip(module.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * grad)
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()


CHANGES = [(p, n) for p in PATHS for n in NAMES[:2] if (p, n) != (("reference", "ids"), "weight_ih_l0")]
"""The one left out is a gather, whose gradient reads no weight."""


@pytest.mark.parametrize(("path", "name"), CHANGES, ids=lambda c: c if isinstance(c, str) else "-".join(c))
def test_a_weight_changed_before_the_backward_is_an_error(cell, path, name):
    backend, form = path
    module = cell(3, 4, backend=backend)
    total = loss(module, INPUTS[form](torch.float32).requires_grad_(form == "floats"))
    with torch.no_grad():
        getattr(module, name).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_an_input_changed_before_the_backward_is_an_error(cell, path):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
    total = loss(module, x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one layer", "stacked"])
def test_first_and_second_derivatives_by_finite_differences(cell, path, options):
    backend, form = path
    module = cell(3, 2, dtype=torch.float64, backend=backend, **options)
    x = INPUTS[form](torch.float64)
    names, leaves = zip(*((n, p.detach().requires_grad_()) for n, p in module.named_parameters()), strict=True)
    given = [x.requires_grad_()] if form == "floats" else []

    def function(*tensors):
        weights = dict(zip(names, tensors[: len(names)], strict=True))
        output, states = torch.func.functional_call(module, weights, (x,))
        return output, *flat(states)

    fast = {"fast_mode": bool(options)}
    assert torch.autograd.gradcheck(function, (*leaves, *given), **fast)
    assert torch.autograd.gradgradcheck(function, (*leaves, *given), **fast)


def test_a_gradient_penalty_in_float32(cell, path):
    backend, form = path
    results = []
    for name in (backend, "reference"):
        torch.manual_seed(3)
        module = cell(3, 4, 2, backend=name)
        torch.manual_seed(4)
        grads = torch.autograd.grad(loss(module, INPUTS[form](torch.float32)), module.parameters(), create_graph=True)
        sum(g.square().sum() for g in grads).backward()
        results.append([p.grad for p in module.parameters()])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_lengths_and_packing_have_the_same_gradients(cell, path):
    backend, form = path
    x, lengths = INPUTS[form](torch.float64), [2, 3]
    gradients = []
    for packed in (False, True):
        torch.manual_seed(5)
        module = cell(3, 4, 2, bidirectional=True, dtype=torch.float64, backend=backend)
        if packed:
            output, states = module(pack_sequence([x[:n, b] for b, n in enumerate(lengths)], enforce_sorted=False))
            output = output.data
        else:
            output, states = module(x, lengths=torch.tensor(lengths))
        total = sum((s.sin().sum() for s in flat(states)), output.sin().sum())  # padding adds sin(0)
        gradients.append([total.detach(), *torch.autograd.grad(total, module.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["aten", "reference"])
def test_what_lies_in_padding_leaks_nowhere(cell, backend):
    module = cell(3, 4, 2, bidirectional=True, backend=backend)
    clean = torch.randn(4, 2, 3)
    results = []
    for filler in (0.0, float("nan"), float("inf")):
        x = clean.clone()
        x[2:, 1] = filler
        x.requires_grad_()
        module.zero_grad()
        output, states = module(x, lengths=torch.tensor([4, 2]))
        sum((s.sin().sum() for s in flat(states)), output.cos().sum()).backward()
        results.append([output, *flat(states), x.grad, *(p.grad for p in module.parameters())])
    assert not results[0][0][2:, 1].any()
    assert not results[1][-len(list(module.parameters())) - 1][2:, 1].any()
    for other in results[1:]:
        for expected, got in zip(results[0], other, strict=True):
            assert torch.equal(got, expected)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script:DeprecationWarning"
)  # torch's own forward mode compiles its formulas
def test_transforms_of_torch_func_agree_with_autograd(cell, path):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
    weights = {n: p.detach() for n, p in module.named_parameters()}

    def total(weights, x):
        return torch.func.functional_call(module, weights, (x,))[0].sin().sum()

    grads = torch.func.grad(total)(weights, x)
    module(x)[0].sin().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad)
    samples = torch.stack([x, x.flip(0)])
    each = torch.func.vmap(torch.func.grad(total), in_dims=(None, 0))(weights, samples)
    torch.testing.assert_close(each["weight_hh_l0"][1], torch.func.grad(total)(weights, samples[1])["weight_hh_l0"])
    direction = {n: torch.randn_like(w) for n, w in weights.items()}
    _, along = torch.func.jvp(lambda w: total(w, x), (weights,), (direction,))
    torch.testing.assert_close(along, sum((grads[n] * direction[n]).sum() for n in weights))


def test_modules_stacked_as_an_ensemble_run_under_vmap(cell):
    members = [cell(3, 4) for _ in range(3)]
    weights, buffers = torch.func.stack_module_state(members)
    x = torch.randn(5, 2, 3)

    def one(weights, buffers):
        return torch.func.functional_call(members[0], (weights, buffers), (x,))[0]

    outputs = torch.func.vmap(one)(weights, buffers)
    for got, member in zip(outputs, members, strict=True):
        torch.testing.assert_close(got, member(x)[0])


def test_checkpointing_and_saved_tensor_hooks_change_nothing(cell, path):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
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


def test_hooks_see_and_may_replace(cell):
    module, seen = cell(3, 4), []
    module.register_forward_pre_hook(lambda m, given: seen.append("before"))
    module.register_forward_hook(lambda m, given, result: (result[0] * 2, result[1]))
    module.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append("backward"))
    module.weight_hh_l0.register_hook(lambda grad: seen.append("weight"))
    x = torch.randn(5, 2, 3, requires_grad=True)
    output, _ = module(x)
    output.sum().backward()
    assert sorted(seen) == ["backward", "before", "weight"]
    plain = cell(3, 4)
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(output, 2 * plain(x)[0])


def test_batched_gradients(cell, path):
    backend, form = path
    module, x = cell(3, 4, backend=backend), INPUTS[form](torch.float32)
    output, _ = module(x)
    directions = torch.randn(3, *output.shape)
    together = torch.autograd.grad(output, module.weight_hh_l0, directions, retain_graph=True, is_grads_batched=True)[0]
    for k in range(3):
        alone = torch.autograd.grad(output, module.weight_hh_l0, directions[k], retain_graph=True)[0]
        torch.testing.assert_close(together[k], alone)


def test_two_runs_give_the_same_bits(cell, path):
    backend, form = path
    module, x = cell(3, 33, 2, backend=backend), INPUTS[form](torch.float32)
    runs = []
    for _ in range(2):
        module.zero_grad()
        total = loss(module, x)
        total.backward()
        runs.append([total, *(p.grad for p in module.parameters())])
        runs[-1] = [t.clone() for t in runs[-1]]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_an_optimizer_step_moves_every_parameter(cell, path):
    backend, form = path
    module, x = cell(3, 4, 2, backend=backend), INPUTS[form](torch.float32)
    before = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    loss(module, x).backward()
    optimizer.step()
    assert not torch.equal(nn.utils.parameters_to_vector(module.parameters()), before)
    assert loss(module, x) != 0
