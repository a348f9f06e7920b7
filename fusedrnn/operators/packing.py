"""Conversion between packed sequences and padded ones with lengths."""

from __future__ import annotations

import torch
from torch import Tensor


def unpack(data: Tensor, batch_sizes: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pad packed rows (N, *) of `batch` samples with zeros to (T, B, *).

    Also returns the lengths (B,), and the positions (N,) of the rows, which `pack` needs; both on the device of `data`.
    """
    lengths = (torch.arange(batch, device=batch_sizes.device) < batch_sizes.unsqueeze(-1)).sum(0)
    places = places_of(batch_sizes, batch, len(data)).to(data.device)
    return put(data, places, len(batch_sizes), batch), lengths.to(data.device), places


def put(rows: Tensor, places: Tensor, steps: int, batch: int) -> Tensor:
    """Rows (N, *) at the positions `places` (N,) of zeros (T, B, *), with T = `steps` and B = `batch`."""
    zeros = rows.new_zeros(steps * batch, *rows.shape[1:])
    return torch.unflatten(zeros.index_copy(0, places, rows), 0, (steps, batch))


def pack(padded: Tensor, places: Tensor) -> Tensor:
    """The rows (N, *) of `padded` (T, B, *) at the positions `places`: the inverse of `unpack` and of `put`."""
    return padded.flatten(0, 1).index_select(0, places)


def places_of(batch_sizes: Tensor, batch: int, rows: int) -> Tensor:
    """Position of each packed row in the flattened (T, B): step * B + sample.

    With it, one gather or scatter moves all steps, while `pad_packed_sequence` copies step by step.
    """
    step, sample = steps_and_samples(batch_sizes, rows)
    return step * batch + sample


def steps_and_samples(batch_sizes: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Step and sample of each of `rows` packed rows. No size depends on a value, so that it can be traced."""
    row, ends = torch.arange(rows, device=batch_sizes.device), batch_sizes.cumsum(0)
    step = torch.searchsorted(ends, row, right=True)
    return step, row - (ends - batch_sizes)[step]


def sort_and_pack(padded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sort and pack (T, B, *) by `lengths` (B,) in any order, as torch's `pack_padded_sequence` does after its checks.

    Returns:
        The packed rows (N, *), the batch sizes (T,), and the order: the sample of each place, longest first.
    """
    sizes, order = torch.sort(lengths.to("cpu", torch.int64), descending=True)
    order = order.to(padded.device)
    data, batch_sizes = torch._pack_padded_sequence(padded.index_select(1, order), sizes, False)
    return data, batch_sizes, order


def unpack_and_unsort(data: Tensor, batch_sizes: Tensor, order: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Undo `sort_and_pack`; returns (T, B, *) with T = `steps`, zero in the padding, and the place of each sample."""
    places = torch.empty_like(order).scatter_(0, order, torch.arange(order.shape[0], device=order.device))
    padded, _ = torch._pad_packed_sequence(data, batch_sizes, False, 0.0, steps)
    return padded.index_select(1, places), places
