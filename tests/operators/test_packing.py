"""Packed rows as padded ones: what torch's own packing gives, to the bit, with gradients, in any dtype."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusedrnn.operators.packing import pack, unpack

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda n: sorted(n, reverse=True))


@given(LENGTHS, st.sampled_from([(), (3,), (2, 2)]))
def test_padding_and_packing_are_torchs(lengths, width):
    packed = pack_padded_sequence(torch.randn(lengths[0], len(lengths), *width), torch.tensor(lengths))
    expected, expected_lengths = pad_packed_sequence(packed)
    padded, found, places = unpack(packed.data, packed.batch_sizes, len(lengths))
    assert torch.equal(padded, expected)
    assert torch.equal(found, expected_lengths)
    assert torch.equal(pack(padded, places), packed.data)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_the_dtype_is_kept(dtype):
    packed = pack_padded_sequence(torch.arange(12).view(3, 4).to(dtype), torch.tensor([3, 3, 1, 1]))
    padded, lengths, _ = unpack(packed.data, packed.batch_sizes, 4)
    assert (padded.dtype, lengths.dtype) == (dtype, torch.int64)
    assert torch.equal(padded, pad_packed_sequence(packed)[0])


def test_first_and_second_derivatives_of_both_ways():
    sizes = torch.tensor([3, 2, 2, 1])
    rows = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    padded = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    places = unpack(rows, sizes, 3)[2]
    for way, given_ in ((lambda t: unpack(t, sizes, 3)[0].sin(), rows), (lambda t: pack(t, places).sin(), padded)):
        assert torch.autograd.gradcheck(way, given_)
        assert torch.autograd.gradgradcheck(way, given_)
