"""The random numbers of dropout: Philox 4x32-10 (Salmon et al. 2011). Element i uses word i % 4 of counter i // 4.

The counter is (low word, high word, 0, 0), the key is (low half, high half) of the seed. An element is kept if its word is at least
the threshold. The mask depends on nothing else: it is the same on every chip, for every tile size and in plain PyTorch.
"""

import triton
import triton.language as tl


@triton.jit
def random_words(seed, counter):
    """Return the four uint32 words of each ``counter``, int64 of any shape."""
    low = counter.to(tl.uint32)
    zero = low * 0
    return tl.philox(seed, low, (counter >> 32).to(tl.uint32), zero, zero, n_rounds=10)


@triton.jit
def kept_at(seed, index, threshold):
    """Whether the elements at ``index``, int64 of any shape and order, are kept; one Philox call per element."""
    w0, w1, w2, w3 = random_words(seed, index >> 2)
    lane = (index & 3).to(tl.int32)
    word = tl.where(lane < 2, tl.where(lane == 0, w0, w1), tl.where(lane == 2, w2, w3))
    return word >= threshold.to(tl.uint32, bitcast=True)


@triton.jit
def scaled(x, keep, scale, WIDE: tl.constexpr):
    """x * scale, computed in ``WIDE``; exactly zero where ``keep`` is false. ``scale`` is an int64 with the bits of a float64."""
    return tl.where(keep, x.to(WIDE) * scale.to(tl.float64, bitcast=True).to(WIDE), 0.0)


@triton.jit
def kept_from(seed, counter, threshold, BLOCK: tl.constexpr):
    """Whether BLOCK consecutive elements from index 4 * ``counter`` on are kept; one Philox call per four elements."""
    w0, w1, w2, w3 = random_words(seed, counter + tl.arange(0, BLOCK // 4))
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (BLOCK,))
    return words >= threshold.to(tl.uint32, bitcast=True)
