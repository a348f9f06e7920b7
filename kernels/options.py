"""Arguments of the sweeps' kernels: states, and what resets, noise and layer normalisation need."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fusedrnn.kernels.noise import Modes
from fusedrnn.kernels.pointwise import float_bits, scale_bits, threshold_bits
from fusedrnn.operators.normalised import Normalised, statistics
from fusedrnn.operators.time_parallel import previous_states
from fusedrnn.reference.loop import begins
from fusedrnn.reference.noise import Noise, drawn, times_factor


def noise_of(noise: Noise | None) -> tuple[Modes, tuple[int | None, ...]]:
    """The constexpr ``NOISE`` and the arguments zone_h, zone_c, candidate_threshold, candidate_scale of a sweep."""
    if noise is None:
        return Modes(), (None, None, None, None)
    random = noise.seed is not None
    h, c = ("" if p == 0 else "random" if random else "expected" for p in noise.zoneout)
    numbers = [None if p == 0 else threshold_bits(p) if random else float_bits(1 - p) for p in noise.zoneout]
    if not random or noise.dropout == 0:
        return Modes(h, c), (*numbers, None, None)
    candidate = "sequence" if noise.shared else "step"
    return Modes(h, c, candidate), (*numbers, threshold_bits(noise.dropout), scale_bits(noise.dropout))


def started(resets: Tensor | None, lengths: Tensor | None, D: int, heads: int) -> Tensor | None:
    """The argument anew_ptr: int8, or None without resets."""
    anew = begins(resets, lengths, D, heads)
    return None if anew is None else anew.to(torch.int8, memory_format=torch.contiguous_format)


def centred(w_hh: Tensor) -> Tensor:
    """The recurrent weights (D, G*H, H) without the mean of each column, in at least float32."""
    wide = w_hh.to(torch.promote_types(w_hh.dtype, torch.float32))
    return wide - wide.mean(1, keepdim=True)


class NormTensors(NamedTuple):
    """What the backward sweep reads for layer normalisation, as the kernel's arguments, and the gradients that it writes."""

    weighted: Tensor
    scale: Tensor
    v: Tensor
    gain_c: Tensor | None = None
    bias_c: Tensor | None = None
    plain_c: Tensor | None = None
    scale_c: Tensor | None = None
    dgain_c: Tensor | None = None
    dbias_c: Tensor | None = None

    @classmethod
    def of(cls, norm: Normalised, w: Tensor, new_cells: Tensor | None, like: Tensor) -> NormTensors:
        """From the `centred` weights w, every c' before zoneout, (T, B, D, H), and the initial state, which has the dtype."""
        dtype, acc = like.dtype, w.dtype
        products = norm.products.to(dtype)
        v = torch.stack([products[:, :, d] @ w[d].to(dtype) for d in range(len(w))], 2) * norm.scale
        weighted, scale = (norm.gains.gain_hh * products).contiguous(), norm.scale.squeeze(-1).to(acc).contiguous()
        found = cls(weighted, scale, v.to(dtype).contiguous())
        _, gain_c, bias_c = norm.gains
        if new_cells is None or gain_c is None or bias_c is None:
            return found
        plain_c, scale_c = statistics(new_cells)
        return found._replace(
            gain_c=gain_c.contiguous(),
            bias_c=bias_c.contiguous(),
            plain_c=plain_c.contiguous(),
            scale_c=scale_c.squeeze(-1).to(acc).contiguous(),
            dgain_c=like.new_empty(like.shape, dtype=acc),
            dbias_c=like.new_empty(like.shape, dtype=acc),
        )

    @property
    def gradients(self) -> tuple[Tensor, Tensor] | tuple[()]:
        """Of gain_c and bias_c, (D, H), in their dtype; nothing without c."""
        if self.gain_c is None or self.dgain_c is None or self.dbias_c is None:
            return ()
        return self.dgain_c.sum(1).to(self.gain_c.dtype), self.dbias_c.sum(1).to(self.gain_c.dtype)


def new_cells(
    gates: Tensor,
    cells: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    anew: Tensor | None,
    noise: Noise | None,
    heads: int,
) -> Tensor | None:
    """Every c' of an LSTM, before zoneout: computed again from the gates where there is zoneout. ``anew``: of `started`."""
    if cells is None or c0 is None or noise is None or noise.zoneout[1] == 0:
        return cells
    before = previous_states(cells, c0, lengths, None if anew is None else anew.bool(), heads)
    i, f, g, _ = gates.chunk(4, -1)
    return torch.addcmul(f * before, i, times_factor(g, drawn(noise, before.shape, before.dtype).factor))


def norm_of(slices: int) -> int:
    """The constexpr ``NORM`` of a lane of so many programs."""
    return 1 if slices == 1 else max(4, 1 << (slices - 1).bit_length())


def sums_of(like: Tensor, norm: int, slices: int, *shape: int, ends: bool = False) -> Tensor | None:
    """A new tensor (*shape, ``norm``) for sums that the programs of a lane exchange, or None if there is at most one program.

    All bits are one, which `poll` takes for not yet written, but for zeros in the padding past ``slices`` and, if it ``ends``, in
    one more step after the last.
    """
    if norm <= 1:
        return None
    sums = like.new_empty((shape[0] + ends, *shape[1:], norm), dtype=torch.promote_types(like.dtype, torch.float32))
    sums.view(torch.uint8).fill_(255)
    sums[..., slices:] = 0
    sums[shape[0] :] = 0
    return sums


def carried(initial: Tensor, gradient: Tensor | None, dtype: torch.dtype) -> Tensor:
    """A state that a sweep updates in place: a contiguous copy of ``gradient``, or zeros shaped as ``initial``, in ``dtype``."""
    if gradient is None:
        return initial.new_zeros(initial.shape, dtype=dtype)
    return gradient.to(dtype, copy=True, memory_format=torch.contiguous_format)


def cut(x: Tensor, H: int) -> Tensor:
    """Return the first H elements of the last dimension, contiguous."""
    return x[..., :H].contiguous()
