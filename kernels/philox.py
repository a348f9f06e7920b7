"""Which elements dropout keeps: Philox 4x32-10 (Salmon et al. 2011), element i taking word i % 4 of counter i // 4.

The counter is (low word, high word, 0, 0), the key the seed's low and high half; an element is kept where its word is at least
the threshold. Nothing else enters, so that the bits are the same on every chip, in every tile and on the plain path.
"""

import triton
import triton.language as tl


@triton.jit
def random_words(seed, counter):
    """The four words of each counter, int64 of any shape."""
    low = counter.to(tl.uint32)
    zero = low * 0
    return tl.philox(seed, low, (counter >> 32).to(tl.uint32), zero, zero, n_rounds=10)


@triton.jit
def kept_at(seed, index, threshold):
    """Whether the elements at ``index``, int64 of any shape and order, are kept: a call an element."""
    w0, w1, w2, w3 = random_words(seed, index >> 2)
    lane = (index & 3).to(tl.int32)
    word = tl.where(lane < 2, tl.where(lane == 0, w0, w1), tl.where(lane == 2, w2, w3))
    return word >= threshold.to(tl.uint32, bitcast=True)


@triton.jit
def scaled(x, keep, scale, WIDE: tl.constexpr):
    """x times the float64 whose bits are the int64 ``scale``, formed in ``WIDE``; exactly zero where not kept."""
    return tl.where(keep, x.to(WIDE) * scale.to(tl.float64, bitcast=True).to(WIDE), 0.0)


@triton.jit
def kept_from(seed, counter, threshold, BLOCK: tl.constexpr):
    """Whether BLOCK elements in a row are kept, from the first of ``counter`` on: four elements a call."""
    w0, w1, w2, w3 = random_words(seed, counter + tl.arange(0, BLOCK // 4))
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (BLOCK,))
    return words >= threshold.to(tl.uint32, bitcast=True)
