"""Philox 4x32 gives the published numbers, and element i gets word i % 4 of counter i // 4, wherever one starts to count."""

import pytest
import torch

from fusedrnn.reference.philox import WORD, philox_4x32, random_words

PI = ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
ZERO, ONES = ((0,) * 4, (0,) * 2), ((WORD,) * 4, (WORD,) * 2)
KNOWN = [  # Random123's kat_vectors
    (7, *ZERO, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    (7, *ONES, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
    (7, *PI, (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
    (10, *ZERO, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (10, *ONES, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (10, *PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def words(values):
    return tuple(torch.tensor([value]) for value in values)


@pytest.mark.parametrize(("rounds", "counter", "key", "expected"), KNOWN)
def test_known_answers(rounds, counter, key, expected):
    assert tuple(word.item() for word in philox_4x32(words(counter), words(key), rounds)) == expected


def test_ten_rounds_unless_told_otherwise():
    _, counter, key, expected = KNOWN[-1]
    assert tuple(word.item() for word in philox_4x32(words(counter), words(key))) == expected


@pytest.mark.parametrize("first", [0, 5, (1 << 32) - 3, (1 << 34) - 5, (1 << 36) + 1, (1 << 62) + 3])
@pytest.mark.parametrize("seed", [0, 7, -1, -(1 << 63), 0x123456789ABCDEF0])
def test_an_element_gets_its_lane_of_its_counter(seed, first):
    got = random_words(torch.tensor(seed), first, 11)
    bits = seed % (1 << 64)
    for i, word in enumerate(got.tolist(), start=first):
        counter = (i // 4 % (1 << 32), i // 4 >> 32, 0, 0)
        assert word == philox_4x32(words(counter), words((bits & WORD, bits >> 32)))[i % 4].item()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 13])
def test_a_part_is_the_part_of_the_whole(count):
    whole = random_words(torch.tensor([3]), 0, 64)
    for first in range(9):
        part = random_words(torch.tensor([3]), first, count)
        assert part.shape == (count,)
        assert torch.equal(part, whole[first : first + count])
