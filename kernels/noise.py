"""Zoneout and recurrent dropout in the sweeps: the weight of the new state, and the factor of the candidate.

The same masks as `fusedrnn.reference.noise`: one Philox call per element and step. It depends on nothing that a step computes, and
stands after the product of the step, where its instructions fill the waits for the tensor cores and the reduction.
"""

from typing import NamedTuple

import triton.language as tl

from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.philox import random_words


class Modes(NamedTuple):
    """What noise a sweep has, passed to the kernels as the constexpr ``NOISE``.

    Attributes:
        h, c: zoneout of the state, "random" or "expected", or "" for none.
        candidate: recurrent dropout with a mask per "step" or "sequence", or "" for none.
    """

    h: str = ""
    c: str = ""
    candidate: str = ""

    @property
    def random(self) -> bool:
        """Whether anything is random."""
        return "random" in (self.h, self.c) or self.candidate != ""

    @property
    def cache_key(self) -> str:
        """Key of this constexpr in Triton's disk cache."""
        return "-".join(self)


@jit
def candidate_factor(word, threshold, scale, ACC: tl.constexpr):
    """1 / (1 - p), ``scale`` as the bits of a float64, where the candidate is kept, else zero."""
    keep = word >= threshold.to(tl.uint32, bitcast=True)
    return gl.where(keep, scale.to(tl.float64, bitcast=True).to(ACC), 0.0)


@jit
def _new_weight(word, number, MODE: tl.constexpr, ACC: tl.constexpr):
    """The weight of the new value of a state: ones and zeros, one number, or 1.0 without zoneout.

    ``number``: the threshold of a random mask, or the expectation as the bits of a float64.
    """
    if MODE == "random":
        return gl.where(word >= number.to(tl.uint32, bitcast=True), 1.0, 0.0).to(ACC)
    elif MODE == "expected":
        return number.to(tl.float64, bitcast=True).to(ACC)
    else:
        return 1.0


@jit
def updated(new, old, weight, MODE: tl.constexpr):
    """weight * new + (1 - weight) * old; where a mask keeps the old state, whatever the new one is."""
    if MODE == "random":
        return gl.where(weight != 0, new, old)
    else:
        return weight * new + (1.0 - weight) * old


@jit
def before_loop(seed_ptr, index, numbers, NOISE: tl.constexpr, ACC: tl.constexpr):
    """The seed, and the factor of the candidate that all steps share; zeros if there is none. ``index``: in (B, D, H)."""
    _, _, threshold, scale = numbers
    if NOISE.random:
        seed = gl.load(seed_ptr)
        if NOISE.candidate == "sequence":
            return seed, candidate_factor(random_words(seed, index)[3], threshold, scale, ACC)
        else:
            return seed, 0
    else:
        return 0, 0


@jit
def of_step(begun, index, numbers, NOISE: tl.constexpr, ACC: tl.constexpr):
    """The weights of the new h and c and the factor of the candidate, of the elements at ``index`` in (T, B, D, H)."""
    seed, shared = begun
    zone_h, zone_c, threshold, scale = numbers
    words = (0, 0, 0, 0)
    if NOISE.random:
        words = random_words(seed, index)
    factor = 1.0
    if NOISE.candidate == "sequence":
        factor = shared
    elif NOISE.candidate == "step":
        factor = candidate_factor(words[2], threshold, scale, ACC)
    return _new_weight(words[0], zone_h, NOISE.h, ACC), _new_weight(words[1], zone_c, NOISE.c, ACC), factor
