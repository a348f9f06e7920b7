"""Every call gets a row whose tiles cover it and whose weights fit the chip."""

import itertools

import pytest
import torch

from fusedrnn.kernels.chips import SHARED_BYTES
from fusedrnn.kernels.table import choose

WIDTHS = [*range(1, 300), 512, 768, 1000, 1024, 1536, 2048, 4096]


@pytest.mark.parametrize("capability", [None, *SHARED_BYTES, (12, 1)], ids=str)
@pytest.mark.parametrize("cell", ["gru", "gru_before", "lstm"])
def test_tiles_cover_the_layer_and_weights_fit(cell, capability):
    dtypes = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    for sweep, dtype, H in itertools.product(("forward", "backward"), dtypes, WIDTHS):
        row = choose(sweep, cell, dtype, H, 32, 1, capability, 100)
        assert row.reason
        assert all(size & (size - 1) == 0 and size >= 16 for size in (row.block_u, row.block_b, row.block_k))
        if row.resident:
            assert row.block_k * row.chunks >= H
            gates = 4 if cell == "lstm" else 3
            weights = gates * row.block_u * row.block_k * row.chunks * dtype.itemsize
            assert weights <= SHARED_BYTES.get(capability, 101_376) - 8192
            assert -(-H // row.block_u) <= 100
        single = row.block_u >= H
        assert not (row.resident and single) or row.chunks == 1


def test_forms_follow_the_size_and_the_chip():
    def form(H, capability=(9, 0), dtype=torch.bfloat16, cell="lstm"):
        row = choose("forward", cell, dtype, H, 32, 1, capability, 132)
        return ("single" if row.block_u >= H else "split") if row.resident else "streamed"

    assert [form(H) for H in (64, 128, 256, 1024, 4096)] == ["single", "single", "split", "split", "streamed"]
    assert [form(H, (8, 6)) for H in (64, 128, 512, 1024)] == ["single", "split", "split", "streamed"]
    assert form(64, dtype=torch.float32) == "streamed"
    assert [form(H, None, torch.float32) for H in (8, 40, 70)] == ["single", "split", "streamed"]
