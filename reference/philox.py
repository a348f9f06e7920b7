"""Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).

A bijection of a counter of four 32-bit words with a key of two words, so that any part of the stream can be computed
without the part before it. PyTorch has no unsigned 32-bit product, so a word is an int64 from 0 to 2^32 - 1; a product of
two words may wrap around to a negative int64, which has the correct bits.
"""

import torch
from torch import Tensor

WORD = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key in each round: golden ratio and sqrt(3) - 1


def philox_4x32(counter: tuple[Tensor, ...], key: tuple[Tensor, ...], rounds: int = 10) -> tuple[Tensor, ...]:
    """Map counters to random words.

    Args:
        counter: four int64 tensors of words, of one shape.
        key: two int64 tensors of words, broadcastable with the counter.
        rounds: 10 is the published default; 7 is the smallest number that passes the authors' tests.

    Returns:
        Four int64 tensors of words, with the shape of the counter.
    """
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(rounds):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((second >> 32) ^ c1 ^ k0) & WORD, second  # upper bits: masked in the next round
        c2, c3 = ((first >> 32) ^ c3 ^ k1) & WORD, first
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1 & WORD, c2, c3 & WORD


def random_words(seed: Tensor, first: int, count: int) -> Tensor:
    """Return the random words of elements `first` to `first + count - 1`.

    Element i has word i % 4 of the counter (i // 4 modulo 2^32, i // 4 // 2^32, 0, 0); the key is (low, high half of the seed).

    Args:
        seed: one int64, any of the 2^64.
        first: index of the first element, 0 to 2^63 - 1.
        count: number of words.

    Returns:
        (count,) int64, each from 0 to 2^32 - 1, on the device of `seed`.
    """
    groups = random_groups(seed, first // 4, (first + count + 3) // 4 - first // 4)
    return torch.stack(groups, -1).flatten()[first % 4 : first % 4 + count]


def random_groups(seed: Tensor, first: int, count: int) -> tuple[Tensor, ...]:
    """Return the four words, each (count,), of groups `first` to `first + count - 1`: group i has elements 4 i to 4 i + 3."""
    seed = seed.reshape(())
    group = torch.arange(first, first + count, device=seed.device)
    zero = torch.zeros_like(group)
    return philox_4x32((group & WORD, group >> 32, zero, zero), (seed & WORD, (seed >> 32) & WORD))
