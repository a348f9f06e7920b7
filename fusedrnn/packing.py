"""Packed sequences as padded ones with lengths, and back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def unpack(data: Tensor, batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Pad packed rows (N, *) to (T, B, *) with zeros; also the lengths (B,), on the device of `data`."""
    padded, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes))
    return padded, lengths.to(data.device)


def pack(padded: Tensor, batch_sizes: Tensor) -> Tensor:
    """The rows (N, *) of (T, B, *) that `batch_sizes` has: the inverse of `unpack`."""
    running = torch.arange(padded.shape[1]) < batch_sizes.unsqueeze(-1)  # (T, B)
    rows = running.flatten().nonzero().squeeze(-1).to(padded.device)
    return padded.flatten(0, 1).index_select(0, rows)


def sort_and_pack(padded: Tensor, lengths: Tensor) -> PackedSequence:
    """Pack (T, B, *) by `lengths` (B,) in any order."""
    return pack_padded_sequence(padded, lengths.cpu(), enforce_sorted=False)
