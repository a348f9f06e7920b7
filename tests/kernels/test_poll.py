"""Polling and publishing without a sweep in Triton's interpreter, for every size of a number."""

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402

from fusedrnn.kernels import launch, poll  # noqa: E402

pytestmark = pytest.mark.skipif(not launch.INTERPRETED, reason="a GPU runs the PTX: see test_poll_ptx.py")
DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)


@triton.jit
def poll_and_tell(x_ptr, got_ptr, left_ptr, error_ptr, polls, BITS: tl.constexpr):
    at = tl.arange(0, 16)
    pointers = (x_ptr + at, x_ptr + 16 + at)
    x, y, left = poll.poll(pointers, tl.zeros((16,), tl.int32) + polls, error_ptr, 7, 2, 16, BITS)
    tl.store(got_ptr + at, x)
    tl.store(got_ptr + 16 + at, y)
    tl.store(left_ptr + at, left)


def absent_at(dtype, *elements):
    """0 to 31, some of them not yet written."""
    x = torch.arange(32.0).to(dtype)
    for element in elements:
        x[element : element + 1].view(torch.uint8).fill_(255)
    return x


def polled(x, polls):
    """The values read, the polls left, and the error word."""
    got, left, word = torch.zeros_like(x), torch.full((16,), -1, dtype=torch.int32), torch.zeros(1).int()
    poll_and_tell[(1,)](x, got, left, word, polls, x.dtype.itemsize * 8)
    assert (left == left[0]).all()
    return got, left[0].item(), word.item()


@DTYPES
@pytest.mark.parametrize("polls", [5, 0], ids=["with polls left", "after a failure"])
@pytest.mark.parametrize("missing", [(), (11,), (31,)], ids=["all there", "one absent", "another absent"])
def test_a_program_whose_data_stays_absent_reports_it_and_stops_polling(missing, polls, dtype):
    got, left, word = polled(absent_at(dtype, *missing), polls)
    assert got.isnan().nonzero().flatten().tolist() == list(missing)
    assert (left, word) == ((0, 7) if missing else (polls, 0))


@DTYPES
def test_half_an_element_of_ones_is_a_number(dtype):
    x = absent_at(dtype)
    size = dtype.itemsize
    x.view(torch.uint8)[11 * size : 11 * size + size // 2] = 255  # the lower half, and the upper one of its neighbour
    x.view(torch.uint8)[13 * size - size // 2 : 13 * size - 1] = 255
    got, left, word = polled(x, 1)
    assert torch.equal(got, x)
    assert (left, word) == (1, 0)


@pytest.mark.parametrize(("polls", "loads"), [(5, 5), (1, 1), (0, 1)])
def test_tries_are_counted(polls, loads, monkeypatch):
    """One poll per load, one more after the last, and two of the second block, which is already written."""
    looks, look = [], poll._absent
    monkeypatch.setattr(poll, "_absent", lambda x, width: looks.append(1) or look(x, width))
    polled(absent_at(torch.float32, 3), polls)
    assert len(looks) == loads + 3


@DTYPES
def test_what_comes_while_it_is_polled_is_found(dtype, monkeypatch):
    x, looks, look = absent_at(dtype, 3), [], poll._absent

    def arrives(found, width):
        looks.append(1)
        if len(looks) == 3:
            x[3] = 3
        return look(found, width)

    monkeypatch.setattr(poll, "_absent", arrives)
    got, left, word = polled(x, 9)
    assert got.tolist() == list(range(32))
    assert (left, word) == (9, 0)


@triton.jit
def publish_some(value_ptr, to_ptr, mask_ptr, EACH: tl.constexpr, BITS: tl.constexpr):
    at = tl.arange(0, 16)
    poll.publish(to_ptr + at, tl.load(value_ptr + at), tl.load(mask_ptr + at) != 0, EACH, BITS)


@DTYPES
def test_what_is_published_is_never_the_pattern_and_the_rest_is_left_alone(dtype):
    value, to = absent_at(dtype, 5)[:16], absent_at(dtype, *range(16))[:16]
    value[6], value[7] = float("inf"), float("nan")
    mask = torch.arange(16) < 12
    publish_some[(1,)](value, to, mask.int(), 4, dtype.itemsize * 8)
    assert to[5:8].isnan().tolist() == [True, False, True]
    there = to.view(torch.uint8).view(16, -1) != 255
    assert there.any(1).tolist() == mask.tolist()
    numbers = value.isfinite() & mask
    assert torch.equal(to[numbers], value[numbers])
    assert to[6] == value[6]
