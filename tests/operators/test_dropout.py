"""Kernels and plain operators drop the same elements and return the same bits: outputs, gradients, any shape and stride."""

import random

import pytest
import torch

from fusedrnn import functional, use_backend

pytest.importorskip("triton")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def strided(draw, dtype):
    """Random numbers of random shape, permuted, stepped or expanded."""
    shape = [draw.randint(1, 9) for _ in range(draw.randint(0, 4))]
    x = torch.randn([2 * size for size in shape]).to(dtype)
    x = x[tuple(slice(draw.randint(0, 1), None, draw.choice([1, 2])) for _ in shape)]
    x = x.permute(draw.sample(range(len(shape)), len(shape)))
    if shape and draw.random() < 0.2:
        dim = draw.randrange(len(shape))
        x = x.narrow(dim, 0, 1).expand(*x.shape[:dim], 3, *x.shape[dim + 1 :])
    return x


@pytest.mark.parametrize("case", range(200))
def test_random_calls_agree_to_the_bit(case):
    draw = random.Random(case)
    torch.manual_seed(case)
    dtype, p = DTYPES[case % 4], draw.choice([0.0, 1.0, 0.5, 0.1, 0.9, draw.random()])
    x = strided(draw, dtype)
    fused = x.dim() > 0 and draw.random() < 0.4
    bias = torch.randn(x.shape[-1]).to(dtype) if fused else None
    shared_dims = draw.randint(0, x.dim())
    grad = strided(draw, dtype)
    grad = grad if grad.shape == x.shape else torch.randn(x.shape).to(dtype)
    results = []
    for backend in ("reference", "triton", "aten"):
        leaf = x.detach().requires_grad_()
        torch.manual_seed(case)
        if bias is None:
            y = functional.dropout(leaf, p, shared_dims=shared_dims, backend=backend)
            results.append([y, *torch.autograd.grad(y, leaf, grad)])
        else:
            b = bias.clone().requires_grad_()
            y = functional.bias_relu_dropout(leaf, b, p, backend=backend)
            results.append([y, *torch.autograd.grad(y, (leaf, b), grad)])
    for other in results[1:]:
        for expected, got in zip(results[0], other, strict=True):
            assert got.dtype == expected.dtype
            assert got.stride() == expected.stride()
            assert torch.equal(got, expected)


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_the_choice_of_backend_is_the_packages(backend, monkeypatch):
    from fusedrnn.kernels import pointwise

    calls = []
    original = pointwise.dropout
    monkeypatch.setattr(pointwise, "dropout", lambda *a, **k: calls.append(1) or original(*a, **k))
    with use_backend(backend):
        functional.dropout(torch.ones(3))
    assert bool(calls) == (backend == "triton")
    with pytest.raises(ValueError, match=r"^backend: expected one of"):
        functional.dropout(torch.ones(3), backend="cudnn")


@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize("p", [0.4, 1.0])
def test_in_place_is_the_same_in_place(backend, p):
    x, grad = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    results = []
    for inplace in (False, True):
        leaf = x.clone().requires_grad_()
        given = leaf * 1
        torch.manual_seed(2)
        y = functional.dropout(given, p, inplace=inplace, backend=backend)
        assert (y is given) == inplace
        assert y.data_ptr() == given.data_ptr() or not inplace
        results.append((y, *torch.autograd.grad(y.sin(), leaf, grad)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_a_view_in_place_changes_its_base_and_its_gradient(backend):
    leaf = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    base = leaf * 1
    torch.manual_seed(2)
    functional.dropout(base[1:, ::2], 0.5, inplace=True, backend=backend)
    torch.manual_seed(2)
    mask = functional.dropout(torch.ones(5, 4, dtype=torch.float64), 0.5, backend=backend)
    factor = torch.ones(6, 8, dtype=torch.float64)
    factor[1:, ::2] = mask
    assert torch.equal(base, leaf * factor)
    assert torch.equal(torch.autograd.grad(base.sum(), leaf)[0], factor)
