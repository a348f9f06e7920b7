"""Second and third derivatives, batched gradients, and the transforms of torch.func, as torch.nn's where it has them."""

import pytest
import torch
from contract_cases import BACKENDS, INPUTS, LAYERS, PATHS, flat, total, twins
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

X = torch.randn(5, 2, 3)


@pytest.fixture(params=[path for path in PATHS if path[0] != "triton"], ids="-".join)
def path(request):
    """A backend and a form of input."""
    return request.param


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one layer", "stacked"])
def test_first_and_second_derivatives_by_finite_differences(kind, path, options):
    backend, form = path
    module = kind(3, 2, dtype=torch.float64, backend=backend, **options)
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


def test_a_gradient_penalty_in_float32(kind, path):
    backend, form = path
    results = []
    for name in (backend, "reference"):
        torch.manual_seed(3)
        module = kind(3, 4, 2, backend=name)
        torch.manual_seed(4)
        grads = torch.autograd.grad(total(module(INPUTS[form]())), module.parameters(), create_graph=True)
        sum(g.square().sum() for g in grads).backward()
        results.append([p.grad for p in module.parameters()])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("steps", [3, 33], ids=["short", "long"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_second_and_third_derivatives_are_torchs(pair, backend, steps):
    if backend == "triton":
        steps = 3  # interpreted
    found = []
    for module in twins(pair, 2, 3, dtype=torch.float64, backend=backend):
        torch.manual_seed(3)
        x = (0.3 * torch.randn(steps, 2, 2, dtype=torch.float64)).requires_grad_()
        loss, orders = total(module(x)), []
        for order in (1, 2, 3):
            orders.append(torch.autograd.grad(loss, [x, *module.parameters()], create_graph=order < 3))
            loss = sum(g.square().sum() for g in orders[-1])
        found.append(orders)
    for tolerance, got, expected in zip((1e-10, 1e-10, 1e-8), *found, strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_batched_gradients(kind, path):
    backend, form = path
    module, x = kind(3, 4, backend=backend), INPUTS[form]()
    output, _ = module(x)
    directions = torch.randn(3, *output.shape)
    together = torch.autograd.grad(output, module.weight_hh_l0, directions, retain_graph=True, is_grads_batched=True)[0]
    for k in range(3):
        alone = torch.autograd.grad(output, module.weight_hh_l0, directions[k], retain_graph=True)[0]
        torch.testing.assert_close(together[k], alone)


# transforms


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


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # from torch's forward mode
def test_transforms_of_torch_func_agree_with_autograd(kind, path):
    backend, form = path
    module, x = kind(3, 4, backend=backend), INPUTS[form]()
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


def test_functional_call_takes_all_or_some_weights(pair, backend):
    module, other = pair[1](3, 4, backend=backend), pair[1](3, 4)
    everything = dict(other.named_parameters())
    torch.testing.assert_close(torch.func.functional_call(module, everything, (X,))[0], other(X)[0])
    some = {"weight_hh_l0": other.weight_hh_l0}
    mixed = pair[1](3, 4)
    mixed.load_state_dict({**module.state_dict(), **{k: v.detach() for k, v in some.items()}})
    torch.testing.assert_close(torch.func.functional_call(module, some, (X,))[0], mixed(X)[0])
    assert module._flat_weights[1] is module.weight_hh_l0


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps", [5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_of_each_sample_by_expanded_weights_are_torchs(dtype, steps, batch_first):
    """In float64 for the LSTM too, which oneDNN does not run."""
    pairs = [LAYERS["gru"]] + [LAYERS["lstm"]] * (dtype == torch.float64)
    for pair in pairs:
        x = torch.randn((3, steps, 3) if batch_first else (steps, 3, 3), dtype=dtype)
        found = []
        for module in twins(pair, 3, 4, 2, bidirectional=True, batch_first=batch_first, dtype=dtype):
            call = call_for_per_sample_grads(module, batch_size=3, batch_first=batch_first)
            call(x)[0].square().sum().backward()
            found.append([p.grad_sample for p in module.parameters()])
        for expected, got in zip(*found, strict=True):
            torch.testing.assert_close(got, expected)
