"""functional.l2_penalty: value and gradient of the reference, and errors for arguments it cannot take."""

import pytest
import torch

from fusedrnn import functional
from fusedrnn.reference.l2 import l2_penalty


def weights(dtype=torch.float64):
    return [torch.randn(s, dtype=dtype, requires_grad=True) for s in ((5, 3), (), (7,), (0, 2))] + [
        torch.zeros(3, dtype=dtype, requires_grad=True)
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_value_and_gradient_are_the_references(dtype):
    given = weights(dtype)
    got, wide = functional.l2_penalty(iter(given)), [w.detach().double() for w in given]
    assert got.dtype == (dtype if dtype == torch.float64 else torch.float32)
    rtol = 1e-12 if dtype == torch.float64 else 1e-5  # a few roundings of float32
    torch.testing.assert_close(got.double(), l2_penalty(wide), rtol=rtol, atol=0)
    for weight, gradient in zip(given, torch.autograd.grad(3 * got, given), strict=True):
        torch.testing.assert_close(gradient, 3 * weight.detach())


def test_large_16_bit_weights_do_not_overflow():
    assert functional.l2_penalty([torch.full((4,), 1000.0, dtype=torch.float16)]).item() == 2e6


def test_derivatives_by_finite_differences():
    given = weights()[:3]
    assert torch.autograd.gradcheck(lambda *w: functional.l2_penalty(w), given)
    assert torch.autograd.gradgradcheck(lambda *w: functional.l2_penalty(w), given)


def test_under_torch_func_and_compiled():
    torch.compiler.reset()
    given = [w.detach() for w in weights()]
    for weight, gradient in zip(given, torch.func.grad(functional.l2_penalty)(given), strict=True):
        torch.testing.assert_close(gradient, weight)
    leaves = weights()
    compiled = torch.compile(functional.l2_penalty, fullgraph=True, backend="aot_eager")
    for weight, gradient in zip(leaves, torch.autograd.grad(compiled(leaves), leaves), strict=True):
        torch.testing.assert_close(gradient, weight.detach())


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ([], ValueError, "l2_penalty: expected at least one tensor, got none"),
        ([1.0], TypeError, "params: expected a tensor, got float"),
        ([torch.ones(2).long()], RuntimeError, "l2_penalty: expected a floating-point input, got torch.int64"),
        (
            [torch.ones(2), torch.ones(2).half()],
            ValueError,
            "l2_penalty: expected one dtype, got torch.float32 and torch.float16",
        ),
    ],
    ids=["none", "a number", "integers", "two dtypes"],
)
def test_errors_say_expected_and_got(params, kind, message):
    with pytest.raises(kind) as caught:
        functional.l2_penalty(params)
    assert str(caught.value) == message
