"""Every call gets a row whose tiles cover it, whose weights fit the chip and whose lanes fit as few waves as can be."""

import itertools

import pytest
import torch

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.chips import CHIPS, SHARED_BYTES, SMALLEST_SHARED
from fusedrnn.kernels.table import CELLS, INTERPRETED, TABLE, candidates, choose, even, form_of, shared_bytes, waves

WIDTHS = [*range(1, 300), 512, 768, 1000, 1024, 1536, 2048, 4096]
DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@pytest.mark.parametrize("capability", [None, *CHIPS, (12, 1)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_tiles_cover_the_layer_and_everything_fits(cell, capability):
    room = SHARED_BYTES.get(capability, SMALLEST_SHARED)
    for sweep, dtype, H, tf32 in itertools.product(("forward", "backward"), DTYPES, WIDTHS, (True, False)):
        row = choose(sweep, cell, dtype, H, 32, 1, capability, 100, tf32=tf32)
        assert row.reason
        assert all(size & (size - 1) == 0 and size >= 16 for size in (row.block_u, row.block_b * 2, row.block_k))
        assert row.block_b >= 16 or row.polled
        assert row.split == 1 or row.split == row.warps or capability is None
        if row.resident:
            assert row.split * row.block_k * row.chunks >= H
            assert row.split * row.block_k * (row.chunks - 1) < H
        if capability is not None:
            needed = shared_bytes(form_of(row, H), row, cell, dtype.itemsize)
            assert needed <= room
            assert row.per_sm * needed <= room + 1024
            assert row.per_sm * 32 * row.warps * 256 <= 65_536
            assert form_of(row, H) not in ("polled", "split") or -(-H // row.block_u) <= 100 * row.per_sm
        if form_of(row, H) == "single":
            assert row.chunks == row.split == 1
        if row.polled:
            assert NUMBERS[cell].phases == 1
            assert row.block_u == 16
            assert dtype.itemsize == 2 or capability is None


def test_forms_follow_the_size_the_chip_and_the_products():
    def forms(widths, capability=(9, 0), dtype=torch.bfloat16, cell="lstm", tf32=True):
        rows = [(choose("forward", cell, dtype, H, 32, 1, capability, 132, tf32=tf32), H) for H in widths]
        return [form_of(row, H) for row, H in rows]

    assert forms((64, 128, 256, 1024, 4096)) == ["polled"] * 4 + ["streamed"]
    assert forms((64, 128, 512, 1024), (8, 6)) == ["polled"] * 4
    assert forms((64, 128, 512, 1024), (8, 6), cell="gru_before") == ["single", "split", "split", "streamed"]
    assert forms((1025,), cell="gru") == ["split"]
    assert forms((64, 100, 768, 1024), dtype=torch.float32) == ["single", "split", "split", "streamed"]
    assert forms((64,), dtype=torch.float32, tf32=False) == ["streamed"]
    assert forms((64,), dtype=torch.float64) == ["streamed"]
    assert forms((8, 20, 40, 70), None, torch.float32) == ["single", "polled", "split", "streamed"]


def test_more_samples_a_program_only_where_fewer_waves_come_of_it():
    def samples(B, D=1, H=512, cell="lstm"):
        return choose("forward", cell, torch.bfloat16, H, B, D, (9, 0), 132).block_b

    assert [samples(B) for B in (1, 16, 64, 128)] == [8, 8, 8, 8]  # 32 slices, two programs an SM: eight lanes a wave
    assert [samples(B, H=1024) for B in (16, 17, 32, 64)] == [8, 16, 16, 16]  # 64 slices: two lanes a wave
    assert [samples(B, D=2, H=1024) for B in (8, 16)] == [8, 16]
    before = [samples(B, H=1024, cell="gru_before") for B in (16, 32, 64, 128)]
    assert before == [16, 16, 32, 32]


def test_the_lstms_backward_has_rows_of_its_own():
    """Four gates' operands beside the weights are more registers than its forward needs."""
    forward, backward = (
        choose(sweep, "lstm", torch.bfloat16, 512, 32, 1, (9, 0), 132) for sweep in ("forward", "backward")
    )
    assert (forward.warps, backward.warps) == (4, 8)
    assert choose("backward", "lstm", torch.bfloat16, 1024, 32, 1, (9, 0), 132).block_b == 8


def test_chips_without_the_instructions_are_not_given_polled_rows(monkeypatch):
    def row(capability, H=256):
        choose.cache_clear()
        return choose("forward", "lstm", torch.float16, H, 32, 1, capability, 72)

    assert row((8, 6)).polled
    assert not row((7, 5)).polled
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not row((9, 4)).polled  # what torch calls an MI300
    assert not row((9, 4), H=64).polled
    choose.cache_clear()


def test_chunks_are_even_where_they_cover_a_row_and_nothing_more():
    rows = {H: choose("forward", "gru", torch.bfloat16, H, 16, 1, (9, 0), 132) for H in (64, 128, 252, 256, 1000, 1024)}
    assert [even(row, H) for H, row in rows.items()] == [False, True, True, True, False, True]


def test_wider_slices_where_narrow_ones_are_more_than_run_at_once():
    def units(H, multiprocessors):
        return choose("forward", "lstm", torch.bfloat16, H, 16, 1, (8, 0), multiprocessors).block_u

    assert [units(2048, sms) for sms in (148, 128, 127, 64, 63)] == [16, 16, 32, 32, 16]


def test_waves_by_hand():
    row = choose("forward", "gru_before", torch.bfloat16, 1024, 64, 1, (9, 0), 132)
    assert (row.block_u, row.block_b, row.per_sm) == (16, 32, 1)
    assert [waves(row, 1024, B, 1, 132) for B in (1, 64, 65, 128, 129)] == [1, 1, 2, 2, 3]
    assert waves(row, 1024, 64, 2, 132) == 2
    assert waves(row, 1024, 64, 1, 63) == 2  # a lane that does not fit still counts as one


def test_chunks_waste_as_little_as_they_can():
    def chunks(H):
        row = choose("forward", "gru_before", torch.bfloat16, H, 16, 1, (9, 0), 132)
        return row.split * row.block_k * row.chunks

    assert [chunks(H) for H in (160, 192, 256, 300, 512, 650, 1024)] == [192, 192, 256, 320, 512, 704, 1024]


def test_the_table_is_frozen_and_every_line_has_a_reason():
    for entry in (*TABLE, *INTERPRETED):
        assert entry.row.reason
        assert entry.memory in ("save", "recompute")
        assert entry.form in ("single", "polled", "split", "streamed")
        assert entry.row.polled == (entry.form == "polled")
        with pytest.raises(AttributeError):
            entry.form = "other"
    everywhere = [e for e in TABLE if e.form == "streamed"]
    kinds = {"16-bit", "tf32", "exact", "fp64", "fp64 without tensor cores"}
    assert {e.numbers for e in everywhere} == kinds  # so that no call is without a row
    assert candidates("gru", torch.float64, 10**6, (8, 0), True)
