"""Every call gets a row whose tiles cover it, whose weights fit the chip and whose lanes fit as few waves as can be."""

import itertools

import pytest
import torch

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.chips import CHIPS, SHARED_BYTES, SMALLEST_SHARED
from fusedrnn.kernels.table import (
    CELLS,
    INTERPRETED,
    PLACES,
    TABLE,
    Row,
    candidates,
    choose,
    even,
    fits,
    padded,
    shared_bytes,
    slices,
    unserved,
    waves,
)

WIDTHS = [*range(1, 300), 512, 768, 1000, 1024, 1536, 2048, 4096]
DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@pytest.mark.parametrize("capability", [None, *CHIPS, (12, 1)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_tiles_cover_the_layer_and_everything_fits(cell, capability):
    room = SHARED_BYTES.get(capability, SMALLEST_SHARED)
    for sweep, dtype, H, tf32 in itertools.product(("forward", "backward"), DTYPES, WIDTHS, (True, False)):
        row = choose(sweep, cell, dtype, H, 32, 1, capability, 100, tf32=tf32)
        assert row.reason
        assert row.weights in PLACES
        assert all(size & (size - 1) == 0 for size in (row.units, row.samples, row.depth, row.warps))
        assert row.units >= 16
        assert row.samples >= 8
        assert (slices(row, H) - 1) * row.units < H <= padded(H) <= slices(row, H) * row.units
        width = row.warps * row.depth
        assert (row.chunks == 0) == (row.weights == "streamed")
        assert row.chunks == 0 or width * (row.chunks - 1) < H <= width * row.chunks
        if capability is not None:
            needed = shared_bytes(row, cell, dtype.itemsize)
            assert needed <= room
            assert row.per_sm * (needed + 1024) <= room + 1024
            assert row.per_sm * 32 * row.warps * 256 <= 65_536
            assert row.weights == "streamed" or fits(row, H, 100)


def test_weights_lie_where_the_size_the_chip_and_the_products_let_them():
    def places(widths, capability=(9, 0), dtype=torch.bfloat16, cell="lstm", tf32=True):
        rows = [choose("forward", cell, dtype, H, 32, 1, capability, 132, tf32=tf32) for H in widths]
        return [row.weights for row in rows]

    assert places((64, 65, 512, 1024, 1536, 4096)) == ["alone"] + ["registers"] * 3 + ["shared", "streamed"]
    assert places((64, 512, 1024, 1536), (8, 6)) == ["alone", "registers", "registers", "streamed"]
    for cell in CELLS:
        assert places((64, 1024, 1025), cell=cell) == ["alone", "registers", "shared"]
    assert places((64, 512, 768, 1024), dtype=torch.float32) == ["registers", "registers", "shared", "streamed"]
    assert places((768, 1024, 2048), dtype=torch.float32, cell="gru") == ["registers", "shared", "streamed"]
    assert places((64,), dtype=torch.float32, tf32=False) == ["streamed"]
    assert places((64,), dtype=torch.float64) == ["streamed"]
    assert places((8, 20, 40, 70), None, torch.float32) == ["alone", "registers", "shared", "streamed"]


def test_the_interpreters_rows_have_one_program_and_many_of_every_place():
    rows = {H: choose("forward", "gru", torch.float32, H, 32, 1, None, 1) for H in (16, 17, 32, 33, 48, 49)}
    assert [slices(row, H) for H, row in rows.items()] == [1, 2, 2, 3, 3, 2]
    assert [row.weights for row in rows.values()] == ["alone"] + ["registers"] * 2 + ["shared"] * 2 + ["streamed"]


def test_more_samples_a_program_only_where_fewer_waves_come_of_it():
    def samples(B, D=1, H=512, cell="lstm"):
        return choose("forward", cell, torch.bfloat16, H, B, D, (9, 0), 132).samples

    assert [samples(B) for B in (1, 16, 64, 128)] == [8, 8, 8, 8]  # 32 slices, two programs an SM: eight lanes a wave
    assert [samples(B, H=1024) for B in (16, 17, 32, 64)] == [8, 16, 16, 16]  # 64 slices: two lanes a wave
    assert [samples(B, D=2, H=1024) for B in (8, 16)] == [8, 16]
    shared = [samples(B, H=1500, cell="gru_before") for B in (16, 17, 32, 64)]
    assert shared == [16, 32, 32, 32]  # 94 slices: a lane a wave
    assert [samples(B, H=1500) for B in (8, 9, 16, 32)] == [8, 16, 16, 16]


def test_the_lstms_backward_has_rows_of_its_own():
    """Four gates' operands beside the weights are more registers than its forward needs."""
    forward, backward = (
        choose(sweep, "lstm", torch.bfloat16, 512, 32, 1, (9, 0), 132) for sweep in ("forward", "backward")
    )
    assert (forward.warps, backward.warps) == (4, 8)
    assert choose("backward", "lstm", torch.bfloat16, 1024, 32, 1, (9, 0), 132).samples == 8


def test_chips_without_the_instructions_are_not_served(monkeypatch):
    def row(capability):
        choose.cache_clear()
        return choose("forward", "lstm", torch.float16, 256, 32, 1, capability, 72)

    assert row((8, 0)).weights == "registers"
    assert row(None).reason.startswith("interpreter")
    with pytest.raises(RuntimeError, match=r"expected a GPU of compute capability 8.0 or above, got 7.5"):
        row((7, 5))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert unserved((9, 4)) == "expected a GPU of NVIDIA's, got one of AMD's"  # what torch calls an MI300
    with pytest.raises(RuntimeError, match="got one of AMD's"):
        row((9, 4))
    choose.cache_clear()


def test_chunks_are_even_where_they_cover_a_row_and_nothing_more():
    rows = {H: choose("forward", "gru", torch.bfloat16, H, 16, 1, (9, 0), 132) for H in (64, 128, 252, 256, 1000, 1024)}
    assert [even(row, H) for H, row in rows.items()] == [False, True, True, True, False, True]
    assert not even(
        choose("forward", "gru", torch.float64, 64, 16, 1, (9, 0), 132), 64
    )  # streamed: a loop of unknown length


def test_rows_of_what_is_polled_are_whole_loads():
    assert [padded(H) for H in (1, 7, 8, 9, 16, 17)] == [8, 8, 8, 16, 16, 24]


def test_wider_slices_where_narrow_ones_are_more_than_run_at_once():
    def units(H, multiprocessors):
        return choose("forward", "lstm", torch.bfloat16, H, 16, 1, (8, 0), multiprocessors).units

    assert [units(2048, sms) for sms in (148, 128, 127, 64, 63)] == [16, 16, 32, 32, 16]


def test_weights_are_streamed_where_a_lane_that_keeps_them_could_not_wait():
    """64 slices, of which one runs on a multiprocessor."""
    rows = [
        choose("forward", "gru", torch.bfloat16, 1024, 8, 1, (9, 0), multiprocessors) for multiprocessors in (64, 63)
    ]
    assert [(row.weights, slices(row, 1024)) for row in rows] == [("registers", 64), ("streamed", 32)]


def test_waves_by_hand():
    row = Row(16, 32, 64, 3, "shared", 8)
    assert slices(row, 1500) == 94
    assert [waves(row, 1500, B, 1, 132) for B in (1, 32, 33, 64, 65)] == [1, 1, 2, 2, 3]
    assert waves(row, 1500, 32, 2, 132) == 2
    assert waves(row, 1500, 32, 1, 63) == 1  # a lane that does not fit still counts as one
    assert [waves(Row(16, 8, 64, 2, "registers", 4, per_sm=2), 512, B, 1, 132) for B in (64, 65)] == [1, 2]


def test_chunks_are_the_fewest_that_cover_every_warps_part():
    def columns(H):
        row = choose("forward", "gru_before", torch.bfloat16, H, 16, 1, (9, 0), 132)
        return row.warps * row.depth * row.chunks

    assert [columns(H) for H in (160, 192, 256, 300, 512, 650, 1024)] == [256, 256, 256, 512, 512, 1024, 1024]


def test_shared_memory_by_hand():
    """The warps' parts of every gate's product in float32, or float64; and the weights, where they lie there."""
    row = Row(16, 16, 64, 3, "shared", 8)
    assert shared_bytes(row, "gru", 2) == 3 * 8 * 16 * 16 * 4 + 3 * 16 * (8 * 64 * 3) * 2
    assert shared_bytes(Row(16, 8, 8, 0, "streamed", 8), "lstm", 8) == 4 * 8 * 16 * 8 * 8


def test_the_table_is_frozen_and_every_line_has_a_reason():
    for entry in (*TABLE, *INTERPRETED):
        assert entry.row.reason
        assert entry.row.weights in PLACES
        assert set(entry.cells) <= set(NUMBERS)
        assert set(entry.sweeps) <= {"forward", "backward"}
        with pytest.raises(AttributeError):
            entry.widest = 1
    everywhere = {
        (e.numbers, cell, sweep)
        for e in TABLE
        if e.row.weights == "streamed" and e.widest > 10**6
        for cell in e.cells
        for sweep in e.sweeps
    }
    kinds = ("16-bit", "tf32", "exact", "fp64")
    assert everywhere == set(
        itertools.product(kinds, CELLS, ("forward", "backward"))
    )  # so that no call is without a row
    for dtype, tf32, sweep in itertools.product(DTYPES, (True, False), (None, "forward", "backward")):
        assert candidates("lstm", dtype, 10**6, (8, 0), tf32, sweep)
