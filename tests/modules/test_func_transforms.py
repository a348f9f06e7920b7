"""torch.func, compiled or not: the kernels refuse to be differentiated; vmap and dropout work."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, functionalize, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

pytest.importorskip("triton")

from fusedrnn import (
    BackendUnavailableError,
    FusedDropout,
    FusedGRU,
    FusedGRUCell,
    FusedLSTM,
    FusedLSTMCell,
    FusedRNN,
    FusedRNNCell,
    functional,
)
from fusedrnn.kernels import launch

pytestmark = [
    pytest.mark.skipif(not launch.INTERPRETED, reason="tries the kernels in the interpreter"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),  # torch's forward mode
]
TRANSFORMS = {
    "grad": lambda f, x: grad(f)(x),
    "vjp": lambda f, x: vjp(f, x)[1](torch.tensor(1.0)),
    "jvp": lambda f, x: jvp(f, (x,), (x,)),
    "jacrev": lambda f, x: jacrev(f)(x),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "hessian": lambda f, x: hessian(f)(x),
    "grad inside vmap": lambda f, x: vmap(grad(f))(torch.stack([x, x])),
}
REFUSED = (
    r"backend 'triton' cannot serve this call: expected plain autograd, got a transform of torch.func or forward mode, .*"
    r"'auto', 'aten' and 'reference' serve it"
)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN, FusedGRUCell, FusedLSTMCell, FusedRNNCell])
def test_transforms_that_differentiate_are_refused_by_the_kernels_and_served_by_the_others(kind, transform):
    net, x = kind(3, 4, backend="triton"), torch.randn(2, 3) if "Cell" in kind.__name__ else torch.randn(2, 1, 3)

    def loss(x):
        return (net(x) if kind in (FusedGRUCell, FusedRNNCell) else net(x)[0]).sin().sum()

    with pytest.raises(BackendUnavailableError, match=REFUSED):
        TRANSFORMS[transform](loss, x)
    for backend in ("auto", "aten"):
        net.backend = backend
        found = TRANSFORMS[transform](loss, x)
        net.backend = "reference"
        torch.testing.assert_close(found, TRANSFORMS[transform](loss, x))


@pytest.mark.parametrize("transform", ["grad", "jvp", "jacrev", "grad inside vmap"])
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN, FusedGRUCell, FusedLSTMCell, FusedRNNCell])
def test_compiled_transforms_give_the_same(kind, transform):
    net, x = kind(3, 4), torch.randn(2, 3) if "Cell" in kind.__name__ else torch.randn(2, 1, 3)

    def transformed(x):
        return TRANSFORMS[transform](
            lambda x: (net(x) if kind in (FusedGRUCell, FusedRNNCell) else net(x)[0]).sin().sum(), x
        )

    torch.testing.assert_close(torch.compile(transformed, backend="eager")(x), transformed(x))


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_compiled_layers_can_be_transformed(kind):
    net, x = kind(3, 4), torch.randn(2, 1, 3)
    compiled = torch.compile(net, backend="eager")
    compiled(x)  # as outside of any transform, which is not to be reused inside
    loss, same = (lambda x, net=net: net(x)[0].sin().sum() for net in (compiled, net))
    torch.testing.assert_close(grad(loss)(x), grad(same)(x))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        got, expected = (forward_ad.unpack_dual(f(dual)).tangent for f in (loss, same))
    torch.testing.assert_close(got, expected)


def test_compiled_forward_mode_is_refused_by_the_kernels():
    net, x = FusedGRU(3, 4, backend="triton"), torch.randn(2, 1, 3)
    with pytest.raises(BackendUnavailableError, match=REFUSED):
        torch.compile(lambda x: jvp(lambda x: net(x)[0], (x,), (x,)), backend="eager")(x)


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_forward_mode_is_refused_and_not_silently_zero(kind):
    net, x = kind(3, 4, backend="triton"), torch.randn(2, 1, 3)
    with forward_ad.dual_level(), pytest.raises(BackendUnavailableError, match=REFUSED):
        net(forward_ad.make_dual(x, torch.ones_like(x)))
    net(x)  # and outside it serves


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_vmap_alone_runs_the_kernels_sample_by_sample(kind):
    net, x = kind(3, 4, 2, backend="triton"), torch.randn(5, 2, 1, 3)
    each = vmap(lambda x: functional_call(net, dict(net.named_parameters()), (x,))[0])(x)
    loop = torch.stack([net(one)[0] for one in x])
    torch.testing.assert_close(each, loop)
    found, expected = (torch.autograd.grad(y.sin().sum(), list(net.parameters())) for y in (each, loop))
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_vmap_alone_drops_between_the_kernels_as_in_a_loop(kind):
    net, x = kind(3, 4, 2, dropout=0.5, backend="triton"), torch.randn(5, 2, 1, 3)

    def seeded(x):
        torch.manual_seed(3)
        return vmap(lambda x: net(x)[0], randomness="same")(x)

    torch.testing.assert_close(seeded(x), torch.cat([seeded(x[k : k + 1]) for k in range(5)]))
    found = seeded(x)
    net.backend = "aten"
    torch.testing.assert_close(found, seeded(x))


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN])
def test_functionalize_runs_the_kernels(kind):
    net, x = kind(3, 4, backend="triton"), torch.randn(2, 1, 3)
    torch.testing.assert_close(functionalize(lambda x: net(x)[0])(x), net(x)[0])


@pytest.mark.parametrize("transform", ["grad", "vjp", "jvp", "jacrev"])
def test_dropout_passes_through_transforms(transform):
    drop, x = FusedDropout(0.5, backend="triton"), torch.randn(6, 5)

    def loss(x):
        torch.manual_seed(3)
        return drop(x).sum()

    kept = drop_mask(drop, x)
    found = TRANSFORMS[transform](loss, x)
    found = found[0] if transform == "vjp" else found[1] if transform == "jvp" else found
    torch.testing.assert_close(found, (x * kept).sum() if transform == "jvp" else kept)


def drop_mask(drop, x):
    """What dropout multiplies by, 0 or 2, of seed 3."""
    torch.manual_seed(3)
    return drop(torch.ones_like(x))


@pytest.mark.parametrize("transform", ["grad", "vjp", "jacrev"])
def test_bias_relu_dropout_passes_through_transforms(transform):
    x, bias = torch.randn(6, 5), torch.randn(5)

    def loss(x):
        torch.manual_seed(3)
        return functional.bias_relu_dropout(x, bias, 0.5, backend="triton").sum()

    found = TRANSFORMS[transform](loss, x)
    leaf = x.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(found[0] if transform == "vjp" else found, leaf.grad)


@pytest.mark.parametrize("bias", [False, True], ids=["dropout", "bias_relu_dropout"])
def test_compiled_dropout_passes_through_transforms(bias):
    def loss(x):
        y = functional.bias_relu_dropout(x, x.new_ones(5), 0.5) if bias else functional.dropout(x, 0.5, True)
        return y.sum()

    found = torch.compile(grad(loss), backend="eager")(torch.zeros(64, 5))
    assert found.unique().tolist() == [0, 2]
