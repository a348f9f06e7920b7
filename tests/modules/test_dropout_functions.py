"""The dropout functions and modules: seeds, what is saved for the backward, transforms, tracing, errors."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from fusedrnn import BackendUnavailableError, FusedDropout, functional
from fusedrnn.backends import triton as backend_triton
from fusedrnn.operators import dropout as dropout_ops


def seeded(function, seed=3):
    def run(*args):
        torch.manual_seed(seed)
        return function(*args)

    return run


def fused(x, bias=None):
    return functional.bias_relu_dropout(x, torch.zeros_like(x[0]) if bias is None else bias, 0.4)


CALLS = {
    "dropout": lambda x: functional.dropout(x, 0.4),
    "shared": lambda x: functional.dropout(x, 0.4, shared_dims=1),
    "fused": fused,
}
ALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@ALL
def test_the_seed_decides_and_every_call_draws_anew(call):
    x = torch.rand(9, 33) + 1
    torch.manual_seed(4)
    first, second = call(x), call(x)
    torch.manual_seed(4)
    assert torch.equal(call(x), first)
    assert not torch.equal(first, second)
    with torch.random.fork_rng():
        assert torch.equal(call(x), second)
    assert torch.equal(call(x), second)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.5, False), (1.0, False)])
def test_nothing_is_drawn_where_nothing_is_left_to_chance(p, training):
    x, bias = torch.randn(7, 3, requires_grad=True), torch.randn(3)
    before = torch.get_rng_state()
    y, z = functional.dropout(x, p, training), functional.bias_relu_dropout(x, bias, p, training)
    assert torch.equal(torch.get_rng_state(), before)
    if p == 1 and training:
        assert not y.any()
        assert not torch.autograd.grad(y.sum() + z.sum(), x)[0].any()
    else:
        assert y is x
        assert torch.equal(z, torch.relu(x + bias))


def sizes_saved(function, *args):
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        result = function(*args)
    result.sum().backward()
    return sizes


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "aot_eager"])
@pytest.mark.parametrize("inplace", [False, True], ids=["new", "in place"])
def test_the_backward_of_dropout_keeps_the_seed_alone(inplace, compiled):
    torch.compiler.reset()
    x, scale = torch.randn(31, 17, requires_grad=True), torch.tensor(2.0)

    def function(x):
        return functional.dropout(x * scale, 0.5, inplace=inplace, backend="aten")

    sizes = sizes_saved(torch.compile(function, fullgraph=True, backend="aot_eager") if compiled else function, x)
    assert sizes
    assert max(sizes) == 1


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "aot_eager"])
def test_the_backward_of_bias_relu_dropout_keeps_its_result_alone(compiled):
    torch.compiler.reset()
    x, bias = torch.randn(31, 17, requires_grad=True), torch.randn(17, requires_grad=True)

    def function(x, bias):
        return functional.bias_relu_dropout(x, bias, 0.5, backend="aten")

    sizes = sizes_saved(torch.compile(function, fullgraph=True, backend="aot_eager") if compiled else function, x, bias)
    assert sum(sizes) <= 31 * 17 + 1


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@ALL
def test_derivatives_by_finite_differences(call):
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seeded(call), x, check_batched_grad=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(seeded(call), x, check_batched_grad=True)


def test_derivatives_with_respect_to_the_bias():
    x, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((4, 2, 5), (5,)))
    assert torch.autograd.gradcheck(seeded(fused), (x, bias), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(seeded(fused), (x, bias))


@ALL
@pytest.mark.parametrize("reentrant", [False, True], ids=["hooks", "reentrant"])
def test_checkpointing_recomputes_the_same_mask(call, reentrant):
    x = torch.randn(9, 33, requires_grad=True)

    def block(x):
        return call(x.sin()).cos()

    expected = torch.autograd.grad(seeded(block)(x).sum(), x)[0]
    torch.manual_seed(3)
    y = checkpoint(block, x, use_reentrant=reentrant)
    torch.randn(5)  # the generator has moved on when the backward runs
    y.sum().backward()
    assert torch.equal(x.grad, expected)


@ALL
def test_compiled_whole_with_its_gradient(call):
    torch.compiler.reset()
    x = torch.randn(9, 33, requires_grad=True)
    results = []
    for run in (call, torch.compile(call, fullgraph=True, backend="aot_eager")):
        y = seeded(run)(x)
        results.append((y, torch.autograd.grad(y.sin().sum(), x)[0]))
    for expected, got in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_a_changed_probability_is_followed_by_compiled_code():
    torch.compiler.reset()
    module = FusedDropout(0.1)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for p in (0.1, 0.5, 0.9):
        module.p = p
        assert torch.equal(seeded(compiled)(torch.ones(99)), seeded(module)(torch.ones(99)))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_exported_with_a_dynamic_batch(strict):
    module = torch.nn.Sequential(FusedDropout(0.5))
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(module, (torch.ones(5, 3),), dynamic_shapes=dynamic, strict=strict)
    assert torch.equal(seeded(program.module())(torch.ones(9, 3)), seeded(module)(torch.ones(9, 3)))


def test_vmap_draws_one_mask_or_many():
    x = torch.ones(3, 99)
    same = torch.func.vmap(functional.dropout, randomness="same")(x)
    assert torch.equal(same[0], same[1])
    different = torch.func.vmap(functional.dropout, randomness="different")(x)
    assert not torch.equal(different[0], different[1])
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(functional.dropout)(x)


@pytest.mark.parametrize("dims", [(0, None), (1, None), (0, 0), (None, 0)], ids=str)
def test_the_operator_under_vmap_is_a_loop(dims):
    x, seeds = torch.randn(4, 4, 5), torch.tensor([[1], [2], [3], [4]])
    seed = seeds if dims[1] == 0 else seeds[0]
    got = torch.func.vmap(lambda x, seed: dropout_ops.dropout("plain", x, 0.5, seed, 1), in_dims=dims)(x, seed)
    for i in range(4):
        one = x if dims[0] is None else x.select(dims[0], i)
        own = seed if dims[1] is None else seed[i]
        assert torch.equal(got[i], dropout_ops.dropout("plain", one, 0.5, own, 1))


@pytest.mark.parametrize("engine", ["plain", "triton"])
def test_the_operators_pass_torchs_own_checks(engine):
    if engine == "triton":
        pytest.importorskip("triton")
    x, seed = torch.randn(5, 7).t().requires_grad_(), torch.tensor([5])
    bias = torch.randn(5, requires_grad=True)
    torch.library.opcheck(dropout_ops.dropout, (engine, x, 0.5, seed, 1))
    torch.library.opcheck(dropout_ops.bias_relu_dropout, (engine, x, bias, 0.5, seed))
    torch.library.opcheck(dropout_ops.bias_relu_dropout_gradient, (engine, x, torch.relu(x.detach()), 0.5))


def test_the_module_is_torchs_by_name_state_and_repr():
    module = FusedDropout(0.25, True)
    assert isinstance(module, torch.nn.Dropout)
    assert repr(module) == "FusedDropout(p=0.25, inplace=True)"
    assert repr(FusedDropout(shared_dims=1, backend="aten")) == (
        "FusedDropout(p=0.5, inplace=False, shared_dims=1, backend='aten')"
    )
    assert not module.state_dict()
    x = torch.ones(5, 3)
    assert module.eval()(x) is x
    assert module.train()(x) is x
    assert set(x.flatten().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}


def test_autocast_takes_a_bias_of_another_dtype():
    x, bias = torch.randn(5, 3).bfloat16(), torch.randn(3)
    with torch.autocast("cpu", torch.bfloat16):
        y = functional.bias_relu_dropout(x, bias, 0.0)
    assert torch.equal(y, torch.relu(x.float() + bias.bfloat16().float()).bfloat16())


def test_meta_tensors_have_shapes():
    x = torch.ones(5, 3, device="meta")
    assert functional.dropout(x).shape == (5, 3)
    assert functional.dropout(x, inplace=True) is x
    assert functional.bias_relu_dropout(x, x[0]).shape == (5, 3)


X = torch.ones(4, 3)
ERRORS = {
    "p above 1": (lambda: functional.dropout(X, 1.5), ValueError, "dropout: expected a probability from 0 to 1, got 1.5"),
    "p below 0": (lambda: functional.dropout(X, -0.1), ValueError, "dropout: expected a probability from 0 to 1, got -0.1"),
    "p NaN": (
        lambda: functional.dropout(X, float("nan"), False), ValueError, "dropout: expected a probability from 0 to 1, got nan",
    ),
    "p NaN in the module": (
        lambda: FusedDropout(float("nan")), ValueError, "FusedDropout: expected a probability from 0 to 1, got nan",
    ),
    "p NaN in the fused": (
        lambda: functional.bias_relu_dropout(X, X[0], float("nan")), ValueError,
        "bias_relu_dropout: expected a probability from 0 to 1, got nan",
    ),
    "integers": (
        lambda: functional.dropout(X.long()), RuntimeError, "dropout: expected a floating-point input, got torch.int64",
    ),
    "integers in the fused": (
        lambda: functional.bias_relu_dropout(X.long(), X[0].long()), RuntimeError,
        "bias_relu_dropout: expected a floating-point input, got torch.int64",
    ),
    "no tensor": (lambda: functional.dropout([1.0]), TypeError, "input: expected a tensor, got list"),
    "expanded in place": (
        lambda: functional.dropout(X[:1].expand(4, 3), inplace=True), RuntimeError,
        "dropout: expected an input that is not expanded for inplace, got strides (0, 1)",
    ),
    "too many shared": (
        lambda: functional.dropout(X, shared_dims=3), ValueError,
        "shared_dims: expected 0 to 2 (the dimensions of input), got 3",
    ),
    "bias too short": (
        lambda: functional.bias_relu_dropout(X, X[0, :2]), RuntimeError,
        "bias: expected shape (3,), the last dimension of input, got (2,)",
    ),
    "bias of another dtype": (
        lambda: functional.bias_relu_dropout(X, X[0].double()), RuntimeError,
        "bias: expected dtype torch.float32, that of input, got torch.float64",
    ),
    "bias elsewhere": (
        lambda: functional.bias_relu_dropout(X, X[0].to("meta")), RuntimeError,
        "bias: expected device cpu, that of input, got meta",
    ),
    "no such backend": (lambda: FusedDropout(backend="cudnn"), ValueError, "backend: expected one of auto, "),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_say_expected_and_got(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_leaf_cannot_be_overwritten():
    with pytest.raises(RuntimeError, match="leaf Variable"):
        functional.dropout(torch.ones(3, requires_grad=True), inplace=True)


def test_a_backend_that_cannot_serve_is_an_error(monkeypatch):
    monkeypatch.setattr(backend_triton, "missing", lambda: "expected a CUDA device, got none")
    with pytest.raises(
        BackendUnavailableError, match=r"^backend 'triton' cannot serve this call: expected a CUDA device"
    ):
        functional.dropout(X, backend="triton")
