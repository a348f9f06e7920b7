"""Jagged nested tensors (torch.nested) as packed sequences, and back: one gather and one scatter of rows, and no padding."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fusedrnn import nested
from fusedrnn.modules import checks
from fusedrnn.operators.packing import steps_and_samples


def pack_jagged(input: Tensor) -> tuple[PackedSequence, Tensor]:
    """The rows of a jagged `input` (B, j, *) as a packed sequence, and where they are in `input.values()`.

    Samples are sorted by length; their lengths are copied to the CPU, as torch's packed sequences need them there.

    Raises:
        ValueError: a sample has no step.
    """
    jagged: Any = input
    values, offsets, lengths = jagged.values(), jagged.offsets().cpu(), jagged.lengths()
    lengths = offsets.diff() if lengths is None else lengths.cpu()
    checks.check_samples(lengths)
    order = lengths.argsort(descending=True, stable=True)
    batch_sizes = len(lengths) - lengths.bincount().cumsum(0)[:-1]
    step, sample = steps_and_samples(batch_sizes, int(lengths.sum()))
    rows = (offsets[order[sample]] + step).to(values.device)
    order = order.to(values.device)
    return PackedSequence(values.index_select(0, rows), batch_sizes, order, order.argsort()), rows


def unpack_jagged(packed: Any, rows: Tensor, input: Tensor) -> Any:
    """Packed sequences in nested tuples as jagged tensors with the offsets of `input`; `rows` as `pack_jagged` returned them."""
    if not isinstance(packed, PackedSequence):
        return tuple([unpack_jagged(part, rows, input) for part in packed])
    data, values = packed.data, input.values()
    return nested.like(input, data.new_zeros(len(values), *data.shape[1:]).index_copy(0, rows, data))
