"""sigmoid and tanh are within two units in the last place of the output dtype, for every finite argument."""

import numpy as np
import pytest
import torch

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402

from fusedrnn.kernels import sweeps  # noqa: E402
from fusedrnn.kernels.math import sigmoid, tanh  # noqa: E402


@triton.jit
def both(x_ptr, sigmoid_ptr, tanh_ptr, N: tl.constexpr, DIGITS: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    tl.store(sigmoid_ptr + i, sigmoid(x, DIGITS).to(sigmoid_ptr.dtype.element_ty))
    tl.store(tanh_ptr + i, tanh(x, DIGITS).to(tanh_ptr.dtype.element_ty))


def evaluate(x, dtype):
    s, t = torch.empty(len(x), dtype=dtype), torch.empty(len(x), dtype=dtype)
    both[(1,)](x, s, t, N=len(x), DIGITS=sweeps.DIGITS[dtype])
    return s, t


def arguments(dtype):
    generator = torch.Generator().manual_seed(0)
    scales = (1e-30, 1e-3, 0.3, 1.0, 4.0, 10.0, 40.0, 100.0)
    parts = [torch.randn(1 << 14, generator=generator, dtype=torch.float64) * scale for scale in scales]
    near = 0.625 + torch.linspace(-1e-3, 1e-3, 1 << 14, dtype=torch.float64)  # where tanh changes its formula
    return torch.cat([*parts[:-1], near]).to(dtype)


def errors(x, got, exact, dtype):
    """Distance from the truth in units in the last place of `dtype`; bfloat16 may flush subnormal results to zero."""
    true = exact(x.numpy().astype(np.longdouble))
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).smallest_normal
    smallest = tiny if dtype == torch.bfloat16 else tiny * eps
    unit = np.maximum(eps * 2.0 ** np.floor(np.log2(np.maximum(np.abs(true), tiny)).astype(float)), smallest)
    return np.abs(got.double().numpy().astype(np.longdouble) - true) / unit


def true_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_error_is_below_two_units_in_the_last_place(dtype):
    x = arguments(torch.float64 if dtype == torch.float64 else torch.float32)
    s, t = evaluate(x, dtype)
    assert errors(x, s, true_sigmoid, dtype).max() < 2
    assert errors(x, t, np.tanh, dtype).max() < 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_ends_of_the_range():
    x = torch.tensor([float("inf"), -float("inf"), 3e38, -3e38, 0.0, 1e-45, -90.0, float("nan")])
    s, t = evaluate(x, torch.float32)
    assert s[:5].tolist() == [1.0, 0.0, 1.0, 0.0, 0.5]
    assert t[:6].tolist() == [1.0, -1.0, 1.0, -1.0, 0.0, x[5].item()]
    assert 0 < s[6] < 1e-38
    assert s[7].isnan()
    assert t[7].isnan()
