"""The row that a call gets: its tiles cover the call, its weights fit the GPU, its lanes need as few waves as possible."""

import itertools

import pytest
import torch

from fusedrnn.backends.chips import CHIPS, SHARED_BYTES, SMALLEST_SHARED
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import (
    ROOM,
    Row,
    even,
    fits,
    grouped,
    operands,
    padded,
    registers,
    shared_bytes,
    slices,
    waves,
)
from fusedrnn.kernels.table import INTERPRETED, PLACES, TABLE, candidates, choose, unserved

WIDTHS = [*range(1, 300), 512, 768, 1000, 1024, 1536, 2048, 4096]
DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@pytest.mark.parametrize("capability", [None, *CHIPS, (12, 1)], ids=str)
@pytest.mark.parametrize("cell", NUMBERS)
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
        assert row.group >= 1
        if capability is not None:
            needed = shared_bytes(row, cell, dtype.itemsize)
            assert needed <= room
            assert row.per_sm * (needed + 1024) <= room + 1024
            assert row.per_sm * 32 * row.warps * 256 <= 65_536
            assert row.weights == "streamed" or fits(row, H, 100)


def test_size_chip_and_products_decide_where_weights_are_kept():
    def places(widths, capability=(9, 0), dtype=torch.bfloat16, cell="lstm", tf32=True):
        rows = [choose("forward", cell, dtype, H, 32, 1, capability, 132, tf32=tf32) for H in widths]
        return [row.weights for row in rows]

    assert places((64, 65, 512, 1024, 1536, 4096)) == ["alone"] + ["registers"] * 3 + ["shared", "streamed"]
    assert places((64, 512, 1024, 1536), (8, 6)) == ["alone", "registers", "registers", "streamed"]
    for cell in NUMBERS:
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
    assert [(row.warps, row.group) for row in (forward, backward)] == [(4, 2), (8, 4)]
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

    assert [columns(H) for H in (160, 192, 256, 300, 512, 650, 1024)] == [256, 256, 256, 512, 512, 768, 1024]


def test_shared_memory_by_hand():
    """The warps' parts of every gate's product in float32, or float64; and the weights, where they lie there."""
    row = Row(16, 16, 64, 3, "shared", 8)
    assert shared_bytes(row, "gru", 2) == 3 * 8 * 16 * 16 * 4 + 3 * 16 * (8 * 64 * 3) * 2
    assert shared_bytes(Row(16, 8, 8, 0, "streamed", 8), "lstm", 8) == 4 * 8 * 16 * 8 * 8


def test_the_table_is_frozen_and_every_line_has_a_reason():
    for entry in (*TABLE, *INTERPRETED):
        assert entry.row.reason
        assert entry.row.weights in PLACES
        with pytest.raises(AttributeError):
            entry.widest = 1
    everywhere = [e.numbers for e in TABLE if e.row.weights == "streamed" and e.widest > 10**6 and not e.without]
    assert set(everywhere) == {"16-bit", "tf32", "exact", "fp64"}  # so that no call is without a row
    for sweep, cell, dtype, tf32 in itertools.product(("forward", "backward"), NUMBERS, DTYPES, (True, False)):
        assert list(candidates(sweep, cell, dtype, 10**6, (8, 0), tf32))


def test_a_row_may_be_without_a_sweep_of_a_cell():
    """The LSTM's forward with 32 samples of streamed weights spills."""

    def samples(sweep, cell):
        return {row.samples for row in candidates(sweep, cell, torch.bfloat16, 4096, (9, 0), True)}

    assert samples("forward", "lstm") == {8, 16}
    assert samples("backward", "lstm") == samples("forward", "gru") == {8, 16, 32}


def test_registers_by_hand():
    """Registers: 16 per chunk and gate, 1.5 times the samples per operand polled at once, and the gradients of the samples."""
    row = Row(16, 8, 64, 2, "registers", 8, 4)
    assert registers(row, "backward", "lstm") == 16 * 4 * 2 + 12 * 4 + 8
    assert registers(row, "forward", "lstm") == 16 * 4 * 2 + 12 * 2  # of 4 that may be polled at once, there are 2
    assert registers(Row(16, 16, 64, 3, "shared", 8, 2), "forward", "gru") == 16 * 3 + 24 * 2
    assert registers(Row(64, 8, 64, 1, "alone", 4, 1), "forward", "rnn_tanh") == 16 + 12


def test_operands_are_polled_in_as_few_groups_as_registers_have_room_for():
    def group(sweep, cell, chunks, warps=8, samples=8, weights="registers"):
        row = grouped(Row(16, samples, 64, chunks, weights, warps, 0), sweep, cell)
        return None if row is None else row.group

    assert group("backward", "lstm", 1) == 4  # all
    assert group("backward", "lstm", 2) == 4  # of 8, in two groups
    assert group("backward", "gru", 3) == 3  # of 9, in three: 188 registers, none left
    assert group("backward", "gru", 2, samples=16) == 3
    assert group("backward", "lstm", 2, samples=16) == 1  # one by one
    assert group("backward", "lstm", 2, samples=32) is None
    assert group("backward", "lstm", 3, weights="shared") == 6  # of 12, of which there is room for 9
    assert group("backward", "lstm", 2, warps=4) is None  # 8 warps poll all at once
    assert group("forward", "lstm", 2, warps=4) == 2
    assert group("backward", "lstm", 3) is None
    for sweep, cell, dtype, H in itertools.product(("forward", "backward"), NUMBERS, DTYPES[1:3], WIDTHS):
        for row in candidates(sweep, cell, dtype, H, (8, 0), True):
            count = operands(row, sweep, cell)
            if row.weights in ("registers", "shared"):
                assert registers(row, sweep, cell) <= ROOM
                assert row.group == count or row.warps == 8
                if row.group < count:  # one chunk more would not save a poll
                    more = Row(row.units, row.samples, row.depth, row.chunks, row.weights, 8, row.group + 1)
                    polls = -(-count // row.group)
                    assert registers(more, sweep, cell) > ROOM or -(-count // more.group) == polls
