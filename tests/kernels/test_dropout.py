"""The dropout kernels equal the reference bit for bit, for any size, stride, counter offset and dtype, and write nothing else."""

import pytest
import torch

pytest.importorskip("triton")

from fusedrnn.kernels import pointwise
from fusedrnn.reference import counter_dropout as reference
from fusedrnn.reference.philox import random_words

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SEED = torch.tensor([-0x123456789ABCDEF], device=DEVICE)
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
BLOCK = pointwise.BLOCK


def expected(x, p, shared_dims=0):
    return reference.counter_dropout(x, p, SEED, shared_dims)


def inside(shape, dtype=torch.float32, margin=17):
    """Random numbers in a larger buffer of NaN, and that buffer."""
    count = torch.Size(shape).numel()
    buffer = torch.full((count + 2 * margin,), float("nan"), dtype=dtype, device=DEVICE)
    buffer[margin : margin + count] = torch.randn(count, device=DEVICE).to(dtype)
    return buffer[margin : margin + count].view(shape), buffer


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [0, 1, 3, 1001, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_any_size_and_nothing_outside(size, dtype):
    x, _ = inside((size,), dtype)
    out, buffer = inside((size,), dtype)
    pointwise.dropout(x, 0.4, SEED, out=out)
    assert torch.equal(out, expected(x, 0.4))
    assert buffer.isnan().sum() == 34


@pytest.mark.parametrize("p", [0.0, 2**-40, 0.25, 0.5, 0.999, 1 - 2**-45, 1.0])
def test_any_probability(p):
    x, _ = inside((31, 7))
    assert torch.equal(pointwise.dropout(x, p, SEED), expected(x, p))


def test_the_smallest_kept_word_is_the_threshold():
    word = int(random_words(SEED, 0, 8)[5])
    for p in (word / 2**32, (word + 1) / 2**32):  # its threshold is that word, or the next
        got = pointwise.dropout(torch.ones(8, device=DEVICE), p, SEED)
        assert torch.equal(got, expected(torch.ones(8, device=DEVICE), p))
        assert bool(got[5]) == (p == word / 2**32)
        shared = pointwise.dropout(torch.ones(2, 16, device=DEVICE)[:, ::2], p, SEED, 1)  # an element a call
        assert torch.equal(shared[0], got)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.transpose(0, 2),
        lambda x: x.permute(1, 2, 0),
        lambda x: x[:, ::2],
        lambda x: x[1:, 1:, ::3],
        lambda x: x[:, :1].expand(-1, 4, -1),
        lambda x: x[0, 0, 0].expand(3, 5),
        lambda x: x[:, 0],
        lambda x: x[0, 0, 0],
        lambda x: x.unsqueeze(1).unsqueeze(-1),
        lambda x: x.view(2, 3, 7, 1, 11).transpose(1, 4).transpose(0, 2),
    ],
    ids=[
        "contiguous", "transposed", "permuted", "stepped", "cut", "expanded", "one value", "column", "scalar",
        "with ones", "five dims",
    ],
)  # fmt: skip
def test_any_stride(view):
    x = view(inside((6, 7, 11))[0])
    for shared_dims in range(x.dim() + 1):
        got = pointwise.dropout(x, 0.5, SEED, shared_dims)
        assert torch.equal(got, expected(x, 0.5, shared_dims))
        assert got.stride() == torch.empty_like(x).stride()


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (33, 2053), (40, 16)])
def test_rows_that_share_a_mask(shape):
    x, _ = inside(shape)
    out, buffer = inside(shape)
    pointwise.dropout(x, 0.5, SEED, 1, out=out)
    assert torch.equal(out, expected(x, 0.5, 1))
    assert buffer.isnan().sum() == 34


@pytest.mark.parametrize(
    "view", [lambda x: x, lambda x: x.t()[1:], lambda x: x[:, ::2]], ids=["flat", "cut", "stepped"]
)
def test_in_place(view):
    base, _ = inside((9, 13))
    before = base.clone()
    pointwise.dropout(view(base), 0.5, SEED, out=view(base))
    assert torch.equal(view(base), expected(view(before), 0.5))
    view(base).copy_(view(before))
    assert torch.equal(base, before)


@pytest.mark.parametrize("first", [1 << 32, (1 << 34) - 8, (1 << 34) + 4, (1 << 62)])
def test_elements_beyond_32_bits_have_bits_of_their_own(first):
    x = torch.ones(4, 33, device=DEVICE)
    keep = reference.kept(SEED, 0.5, 132, first).view(4, 33)
    assert torch.equal(pointwise.dropout(x, 0.5, SEED, counter=first // 4), 2.0 * keep)
    assert torch.equal(pointwise.dropout(x.t(), 0.5, SEED, counter=first // 4), 2.0 * keep.view(33, 4))
    row = reference.kept(SEED, 0.5, 33, first)
    assert torch.equal(pointwise.dropout(x, 0.5, SEED, 1, counter=first // 4), 2.0 * row.expand(4, 33))


def test_strides_beyond_32_bits():
    rows = torch.empty((1 << 31) + 64, dtype=torch.float16, device=DEVICE).as_strided((2, 21), (1 << 31, 1))
    rows.normal_()
    got = pointwise.dropout(rows, 0.5, SEED, out=rows.new_empty(2, 21))
    assert torch.equal(got, expected(rows.contiguous(), 0.5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(5,), (7, 3), (3, 5, 433), (9, 256)], ids=str)
def test_bias_relu_dropout_and_its_gradient(shape, p, dtype):
    x, bias, grad = inside(shape, dtype)[0], inside(shape[-1:], dtype)[0], inside(shape, dtype)[0]
    y = pointwise.bias_relu_dropout(x, bias, p, SEED if p > 0 else None)
    assert torch.equal(y, reference.bias_relu_dropout(x, bias, p, SEED))
    got = pointwise.bias_relu_dropout_gradient(grad, y, p)
    assert torch.equal(got, reference.bias_relu_dropout_gradient(grad, y, p))


def test_what_is_not_finite_passes_where_kept_and_is_zero_where_dropped():
    x = torch.tensor([float("nan"), float("inf"), -float("inf")], device=DEVICE).repeat(67)
    bias = torch.zeros(201, device=DEVICE)
    for got, textbook in (
        (pointwise.dropout(x, 0.5, SEED), expected(x, 0.5)),
        (pointwise.bias_relu_dropout(x, bias, 0.5, SEED), reference.bias_relu_dropout(x, bias, 0.5, SEED)),
    ):
        torch.testing.assert_close(got, textbook, rtol=0, atol=0, equal_nan=True)
    y = pointwise.bias_relu_dropout(x, bias, 0.5, SEED)
    got = pointwise.bias_relu_dropout_gradient(torch.ones_like(x), y, 0.5)
    assert torch.equal(got, reference.bias_relu_dropout_gradient(torch.ones_like(x), y, 0.5))
