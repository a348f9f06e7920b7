"""Tiles without a sweep: products of every form against torch's, and what a thread holds in every row of the table."""

import os
import subprocess
import sys

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402
from sweep_cases import FORMS  # noqa: E402

from fusedrnn.kernels import launch, sweeps  # noqa: E402
from fusedrnn.kernels.language import gl  # noqa: E402
from fusedrnn.kernels.products import make_boxes, products, resident, slice_of  # noqa: E402
from fusedrnn.kernels.rows import WHOLE, padded, slices  # noqa: E402
from fusedrnn.kernels.table import TABLE  # noqa: E402
from fusedrnn.kernels.tiles import columns, place  # noqa: E402

GATES, SAMPLES, POLLS = tl.constexpr(3), 5, 9
NAN = float("nan")


@triton.jit
def multiply_all(
    w_ptr, x_ptr, zeros_ptr, out_ptr, left_ptr, error_ptr, H, W, B, x_stride, polls,
    FIRST: tl.constexpr, OPERANDS: tl.constexpr, RESULTS: tl.constexpr, ACC: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    _, _, _, first_unit, units, samples, own, _, _, sample = place(0, tl.num_programs(0), 1, B, H, 1, 1, TILES)
    w = slice_of(w_ptr, first_unit, H, H * H, H, TILES)
    x = gl.load(x_ptr + samples * x_stride + units, mask=own, other=0.0)
    lane = (columns(H, TILES.right, 1, TILES), W, zeros_ptr, error_ptr, 7, make_boxes(x, OPERANDS, TILES))
    tries = gl.full([TILES.parts, TILES.depth, TILES.samples], 0, gl.int32, TILES.right) + polls
    weights = resident(w, GATES, TILES)
    blocks, tries = products(
        weights, w, x_ptr + sample * x_stride, lane, tries, FIRST, 0, OPERANDS, RESULTS, ACC, TILES
    )
    for r in gl.static_range(RESULTS):
        gl.store(out_ptr + r * B * H + samples * H + units, blocks[r], mask=own)
    gl.store(left_ptr + tl.program_id(0), tl.max(tl.reshape(tries, (tries.numel,)), 0))


def between_nans(x):
    """A copy with NaN between the items of the first dimension, and their stride."""
    wide = torch.full((len(x) + 1, x[0].numel() + 64), NAN, dtype=x.dtype)
    wide[:-1, 64:] = x.flatten(1)
    return wide.flatten()[64:], wide.shape[1]


def run(form, H, first, operands, results, dtype=torch.float32, absent=None):
    """Each program's products, its polls left and the error word; and torch's products. W is [gate, unit, k]."""
    row, W = FORMS[form](H), padded(H)
    w, x = torch.randn(GATES.value, H, H).to(dtype), torch.randn(SAMPLES, operands, W).to(dtype)
    if row.weights == "alone":  # every box has the first operand in it
        x = x[:, :1].repeat(1, operands, 1)
    if absent is not None:
        x[absent] = torch.full((1,), -1, dtype=torch.int32).view(torch.float32)[0]
    acc = sweeps.accumulator(dtype)
    out, left, word = (
        torch.full((results, SAMPLES, H), NAN, dtype=acc),
        torch.zeros(slices(row, H)).int(),
        torch.zeros(1).int(),
    )
    wide_w, wide_x = between_nans(w.flatten().unsqueeze(0))[0], between_nans(x)
    tiles = sweeps.tiles_of(row, H, dtype, tf32=True)
    multiply_all[(slices(row, H),)](
        wide_w, wide_x[0], x.new_zeros(8), out, left, word, H, W, SAMPLES, wide_x[1], POLLS,
        first, operands, results, tl.float64 if acc == torch.float64 else tl.float32, tiles,
    )  # fmt: skip
    w, x = w[first : first + max(operands, results)].to(acc), x[..., :H].to(acc)
    expected = torch.einsum("guk,bk->gbu", w, x[:, 0]) if operands == 1 else torch.einsum("guk,bgk->bu", w, x)
    return out, expected.view_as(out), left.tolist(), word.item()


@pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU the sweeps are run instead")
@pytest.mark.parametrize(
    ("first", "operands", "results"),
    [(0, 1, 3), (0, 1, 2), (2, 1, 1), (0, 3, 1), (0, 2, 1)],
    ids=["every gate", "the first phase", "the second phase", "every gate's sum", "the first phase's sum"],
)
@pytest.mark.parametrize("form", FORMS)
def test_products_of_every_form_are_torchs(form, first, operands, results):
    for H, dtype in [
        (1, torch.float32),
        (17, torch.float32),
        (32, torch.float64),
        (40, torch.float32),
        (39, torch.float64),
    ]:
        out, expected, left, word = run(form, H, first, operands, results, dtype)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
        assert (set(left), word) == ({POLLS}, 0)


@pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU the sweeps are run instead")
@pytest.mark.parametrize("at", [(1, 0, 0), (1, 1, 16), (1, 1, 39)], ids=["first", "middle", "last"])
@pytest.mark.parametrize("form", [form for form in FORMS if form != "alone"])
def test_an_operand_that_never_comes_is_nan_in_its_sample(form, at):
    out, expected, left, word = run(form, 40, 0, 2, 1, absent=at)
    assert (set(left), word) == ({0}, 7)
    assert out[:, 1].isnan().all()
    torch.testing.assert_close(out[:, [0, 2, 3, 4]], expected[:, [0, 2, 3, 4]], rtol=1e-5, atol=1e-5)


def tiles_of_the_table():
    dtypes = {"16-bit": torch.bfloat16, "tf32": torch.float32, "exact": torch.float32, "fp64": torch.float64}
    for entry in TABLE:
        yield entry, sweeps.tiles_of(entry.row, 300, dtypes[entry.numbers], tf32=entry.numbers == "tf32")


def test_a_thread_holds_whole_loads_of_neighbours_in_one_row():
    for entry, tiles in tiles_of_the_table():
        assert tiles.tensor == (entry.numbers in ("16-bit", "tf32"))
        assert tiles.polled * tiles.bits % 128 == 0
        assert tiles.depth * tiles.bits % 128 == 0
        assert tiles.each & (tiles.each - 1) == 0
        assert WHOLE % tiles.each == 0  # a thread's neighbours are all inside a padded row, or all past it
        assert tiles.units % tiles.each == 0
        lanes = tiles.units // tiles.each
        assert 32 % lanes == 0
        assert tiles.each * 32 * tiles.parts <= max(tiles.units * tiles.samples, 32 * tiles.parts)


def test_tiles_are_constants():
    """Equal tiles are one key of Triton's cache, others are others."""
    keys = {tiles for _, tiles in tiles_of_the_table()}
    assert keys == {tiles._replace() for tiles in keys}
    assert len({str(tiles) for tiles in keys}) == len(keys) > 10


EDITED = """
from fusedrnn.kernels.tiles import Tiles
tiles = Tiles(16, 8, 4, 64, 1, 1, "registers", True, False, 16)
before = tiles.cache_key
assert tiles.cache_key == before
for name in ("sums", "left", "right", "stored", "handed", "meeting", "met", "polled", "each"):
    property_ = getattr(Tiles, name)
    setattr(Tiles, name, property(lambda self: 2 if name in ("polled", "each") else "edited"))
    assert tiles.cache_key != before, name
    setattr(Tiles, name, property_)
"""


def test_an_edited_layout_is_another_key_of_the_cache_on_disk():
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", EDITED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
