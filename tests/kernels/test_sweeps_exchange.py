"""Programs of one launch exchange their slices of h: correct if one is late, an error and no hang if one is missing.

A step of two phases exchanges twice. The tests that break the exchange on purpose break each phase separately.
"""

import time
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl
from process_per_program import program
from sweep_cases import FORMS, check, problem, served, textbook

from fusedrnn.kernels import backward, forward, launch, poll, products, sweeps
from fusedrnn.kernels.cell import NUMBERS

pytestmark = [
    pytest.mark.usefixtures("poisoned"),
    pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU programs are concurrent anyway"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of NaN in the interpreter
]

ROW = FORMS["registers"]
MODULES = {"forward": forward, "backward": backward}
KERNELS = {"forward": forward.forward_sweep, "backward": backward.backward_sweep}
EXCHANGES = [(cell, phase, sweep) for cell in NUMBERS for phase in range(NUMBERS[cell].phases) for sweep in MODULES]
"""Every exchange of a step: the cell, the phase, the sweep."""


@pytest.fixture
def break_in(monkeypatch):
    """Replace a function of a module while the kernel of one sweep is launched."""

    def use(sweep, module, name, broken):
        start = launch.start

        def broken_start(launched, *rest):
            with monkeypatch.context() as patch:
                if launched is KERNELS[sweep]:
                    patch.setattr(module, name, broken)
                start(launched, *rest)

        monkeypatch.setattr(launch, "start", broken_start)

    return use


def in_phase(phase, broken):
    """`products` with a broken poll in one phase; the second phase multiplies by the weights of the last gate."""
    whole, sound = products.products, products.poll

    def multiplied(tiles, w, x_ptr, lane, polls, first, *rest):
        products.poll = broken if (first > 0) == (phase > 0) else sound  # of this program's process
        return whole(tiles, w, x_ptr, lane, polls, first, *rest)

    return multiplied


def small(cell):
    """Two programs, of 16 units and of 4; two steps."""
    return ROW(20), problem(cell, 2, 3, 20, 1, True, False, torch.float32)


def floats(p):
    return {k: v.float() if v is not None and k != "lengths" else v for k, v in p.items()}


def run_forward(cell, p, row):
    f = floats(p)
    return sweeps.forward(cell, f["gx"], f["h0"], f["c0"], f["w_hh"], f["b_hh"], f["lengths"], row, save=True)


def run_backward(cell, p, done, d_output, row):
    f = floats(p)
    return sweeps.backward(
        cell, done.gates, done.output, done.cells, f["h0"], f["c0"], f["w_hh"], f["lengths"],
        d_output, None, None, None, row,
    )  # fmt: skip


@pytest.mark.parametrize(("cell", "form"), served("registers", "shared", "streamed"))
def test_one_launch_a_sweep_equals_the_textbook(cell, form, together):
    concurrent = together()
    check(cell, FORMS[form](37), problem(cell, 3, 3, 37, 1, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [3, 3]
    assert concurrent.cooperative == [True, True]


@pytest.mark.parametrize("cell", NUMBERS)
def test_lanes_wait_only_for_their_own_programs(cell, together):
    """Two directions of two batch tiles of two slices: eight programs."""
    concurrent, row = together(), ROW(20)
    check(cell, row, problem(cell, 2, row.samples + 1, 20, 2, False, True, torch.float32), torch.float32)
    assert concurrent.grids == [8, 8]


@pytest.mark.parametrize("late", [0, 2])
@pytest.mark.parametrize("cell", NUMBERS)
def test_a_late_program_is_waited_for(cell, late, together):
    together(delays={late: 0.3})
    check(cell, ROW(37), problem(cell, 2, 2, 37, 1, True, False, torch.float32), torch.float32)


@pytest.mark.parametrize("cell", ["gru", "gru_before"])
def test_lanes_that_do_not_fit_together_follow_each_other(cell, together, monkeypatch):
    concurrent, row = together(), ROW(20)
    monkeypatch.setattr(launch, "capacity", lambda device: 5)
    check(cell, row, problem(cell, 2, 2 * row.samples + 1, 20, 2, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [4, 4, 4] * 2  # six lanes of two programs, two lanes at a time


def test_lanes_share_a_multiprocessor_where_the_row_says_so(together, monkeypatch):
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 2)
    row = replace(ROW(20), per_sm=2)
    check("gru", row, problem("gru", 2, 2 * row.samples + 1, 20, 1, True, False, torch.float32), torch.float32)
    assert concurrent.grids == [4, 2] * 2  # three lanes of two programs, two lanes at a time


@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_a_lane_that_does_not_fit_waits_for_nothing(cell, together, monkeypatch):
    """One launch per phase, and one more in the backward; polling twice would be an error."""
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 2)
    monkeypatch.setattr(launch, "POLLS", 1)
    check(cell, ROW(37), problem(cell, 2, 2, 37, 1, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [3] * (2 * 2 * NUMBERS[cell].phases + 1)
    assert not any(concurrent.cooperative)


@pytest.mark.parametrize("cell", NUMBERS)
def test_one_launch_and_one_a_phase_are_equal_in_every_bit(cell, together, monkeypatch):
    p, d_output = problem(cell, 3, 3, 37, 1, True, True, torch.float32), torch.randn(3, 3, 1, 37)

    def both():
        done = run_forward(cell, p, ROW(37))
        return [*done, *run_backward(cell, p, done, d_output, ROW(37))]

    apart = both()
    together(delays={1: 0.1})
    for a, b in zip(apart, both(), strict=True):
        assert (a is b is None) or torch.equal(a, b)


@pytest.mark.parametrize("dead", [0, 2])
@pytest.mark.parametrize("cell", NUMBERS)
def test_a_dead_neighbour_is_an_error_and_not_a_hang(cell, dead, together, monkeypatch):
    p = problem(cell, 3, 3, 37, 1, True, True, torch.float32)
    monkeypatch.setattr(launch, "POLLS", 300)
    together(killed=(dead,))
    with pytest.raises(
        launch.SweepTimeoutError, match=rf"forward sweep of {cell}, T=3 B=3 H=37 D=1 \(launch \d+, 3 slices"
    ):
        run_forward(cell, p, ROW(37))
    monkeypatch.setattr(launch, "POLLS", 1 << 22)
    together()
    run_forward(cell, p, ROW(37))  # the next launch is not affected


@pytest.mark.parametrize("cell", NUMBERS)
def test_a_dead_neighbour_of_the_backward_is_an_error_too(cell, together, monkeypatch):
    row, p = small(cell)
    together()
    done = run_forward(cell, p, row)
    together(killed=(1,))
    monkeypatch.setattr(launch, "POLLS", 300)
    with pytest.raises(launch.SweepTimeoutError, match=f"backward sweep of {cell}"):
        run_backward(cell, p, done, torch.randn(2, 3, 1, 20), row)
    monkeypatch.setattr(launch, "check", lambda device: None)
    back = run_backward(cell, p, done, torch.randn(2, 3, 1, 20), row)
    launch.error_word(torch.device("cpu")).zero_()
    assert back.dgates[0].isnan().any()
    assert back.dh0[:, :, :16].isnan().all()


@pytest.mark.parametrize("cell", NUMBERS)
def test_what_a_failed_launch_returns_is_nan(cell, together, monkeypatch):
    """The host checks for errors later than the kernel ends, so until then the results must be NaN."""
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *a, **k: plain(self, *a, **k).zero_()
    )  # nothing else is NaN
    together(killed=(0,))
    monkeypatch.setattr(launch, "POLLS", 300)
    monkeypatch.setattr(launch, "check", lambda device: None)
    done = run_forward(cell, problem(cell, 4, 3, 37, 1, True, False, torch.float32), ROW(37))
    launch.error_word(torch.device("cpu")).zero_()
    assert done.output[1:, :, :, 16:].isnan().all()


@pytest.mark.parametrize("cell", NUMBERS)
def test_a_program_that_starts_after_the_others_gave_up_returns_nan(cell, together, monkeypatch):
    """The late program reads NaN from its neighbours; nothing else tells it of the failure."""
    together(delays={0: 2.0})
    monkeypatch.setattr(launch, "POLLS", 100)
    monkeypatch.setattr(launch, "check", lambda device: None)
    done = run_forward(cell, problem(cell, 3, 3, 37, 1, True, False, torch.float32), ROW(37))
    launch.error_word(torch.device("cpu")).zero_()
    first = NUMBERS[cell].phases == 1  # whether a step's numbers are there before anyone has read a neighbour's
    assert done.output[:1].isfinite().all() == first
    assert done.output[1:, :, :, 16:].isnan().all()
    assert done.output[2:].isnan().all()
    assert done.h_n.isnan().all()


ODD = (torch.tensor(float("nan")), torch.tensor(-1, dtype=torch.int32).view(torch.float32), torch.tensor(float("inf")))
"""NaN, the NaN with all bits set that fills an exchange buffer before it is written, and infinity."""


def hidden(cell, p):
    """Every h. torch.nn.RNN cannot be used: its input product would spread NaN and infinity over all units."""
    p = {k: None if v is None else v.double() for k, v in p.items()}
    if not cell.startswith("rnn_"):
        return textbook(cell, p)[0]
    h, found = p["h0"][0], []
    for gx in p["gx"][:, :, 0]:
        h = getattr(torch, cell.removeprefix("rnn_"))(gx + h @ p["w_hh"][0].t() + p["b_hh"][0])
        found.append(h)
    return torch.stack(found).unsqueeze(2)


@pytest.mark.parametrize("cell", NUMBERS)
def test_nan_and_infinity_stay_in_their_sample_and_are_not_waited_for(cell, together):
    """Each value is put into gx, h_0 and the output's gradient, every time of another sample; the last sample has none."""
    together()
    row, p = ROW(20), floats(problem(cell, 2, 10, 20, 1, True, False, torch.float32))
    p["gx"][1, 6:9, :, 7] = 4.0  # where ReLU hands gradients on
    d_output = torch.randn(2, 10, 1, 20)
    clean = run_forward(cell, p, row)
    clean = [*clean, *run_backward(cell, p, clean, d_output, row)]
    for sample, odd in enumerate(ODD):
        p["gx"][0, sample, :, 3] = odd
        p["h0"][:, 3 + sample, 5] = odd
        d_output[1, 6 + sample, :, 7] = odd
    dirty = run_forward(cell, p, row)
    assert torch.equal(dirty.output.isnan(), hidden(cell, p).isnan())
    dirty = [*dirty, *run_backward(cell, p, dirty, d_output, row)]
    for a, b in zip(clean, dirty, strict=True):
        assert (a is b is None) or torch.equal(a[:, 9], b[:, 9])
    odd = [6, 7, 8] if cell == "rnn_relu" else [0, 1, 3, 4, 6, 7, 8]  # ReLU's gradient is 0 or 1 also for NaN
    assert dirty[6][0, odd].isfinite().logical_not().flatten(1).any(1).all()


def test_a_failure_that_was_not_checked_is_raised_by_the_next_launch(together, monkeypatch):
    p = problem("gru", 4, 3, 37, 1, True, False, torch.float32)
    monkeypatch.setattr(launch, "INTERPRETED", False)  # a GPU's launcher does not look back
    with monkeypatch.context() as impatient:
        impatient.setattr(launch, "POLLS", 300)
        together(killed=(0,))
        run_forward("gru", p, ROW(37))
    together()
    with pytest.raises(launch.SweepTimeoutError, match="forward sweep of gru, T=4 B=3 H=37 D=1"):
        run_forward("gru", p, ROW(37))
    check("gru", ROW(37), p, torch.float32)


@pytest.mark.parametrize(("cell", "form"), served("registers", "streamed"))
def test_what_is_polled_is_read_and_written_within_its_bounds(cell, form, monkeypatch):
    """The buffers lie between NaN: a read out of bounds would show in a result, and a write would replace the NaN."""
    walls = []

    def in_walls(allocate):
        def walled(*arguments):
            x = allocate(*arguments)
            whole = torch.full((x.numel() + 2 * 4096,), float("nan"), dtype=x.dtype)
            walls.extend((whole[:4096], whole[-4096:]))
            whole[4096:-4096] = x.flatten()
            return whole[4096:-4096].view(x.shape)

        return walled

    for name in ("_unwritten", "_first"):
        monkeypatch.setattr(sweeps, name, in_walls(getattr(sweeps, name)))
    check(cell, FORMS[form](20), problem(cell, 2, 3, 20, 2, True, True, torch.float32), torch.float32)
    assert len(walls) == 2 * (2 + NUMBERS[cell].phases)
    assert all(wall.isnan().all() for wall in walls)


@triton.jit
def load_once(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
    found = ()
    for n in tl.static_range(COUNT):
        found = found + (tl.load(pointers[n]),)  # noqa: RUF005
    return found + (polls,)  # noqa: RUF005


@triton.jit
def until_some(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
    found = ()
    for n in tl.static_range(COUNT):
        x = tl.load(pointers[n])
        while poll._absent(x, BITS) == x.numel:
            x = tl.load(pointers[n])
        found = found + (x,)  # noqa: RUF005
    return found + (polls,)  # noqa: RUF005


def slow_publisher(sweep):
    """`publish` of a second program that is behind the first in every phase."""
    sound = products.publish

    def publish(*arguments):
        time.sleep(0.25 * program())
        sound(*arguments)

    return publish


@pytest.mark.parametrize(
    ("cell", "phase", "sweep", "broken"),
    [(*one, load_once) for one in EXCHANGES] + [(*one, until_some) for one in EXCHANGES if one[0] == "gru_before"],
)
def test_a_weak_poll_would_be_noticed(cell, phase, sweep, broken, together, break_in):
    row, p = small(cell)
    together()
    break_in(sweep, products, "publish", slow_publisher(sweep))
    break_in(sweep, MODULES[sweep], "products", in_phase(phase, broken))
    with pytest.raises(AssertionError):
        check(cell, row, p, torch.float32)


@pytest.mark.parametrize(("cell", "phase", "sweep"), EXCHANGES)
def test_publishing_before_the_value_is_right_would_be_noticed(cell, phase, sweep, together, break_in):
    """Publications are counted: one per phase in the forward, one per product in the backward."""
    kind, calls, sound = NUMBERS[cell], [], products.publish
    first = kind.gates - kind.late if sweep == "backward" else 1

    def publish_early(pointers, value, mask, *rest):
        calls.append(1)
        if program() == 1 and ((len(calls) - 1) % (first + kind.late) >= first) == (phase > 0):
            sound(pointers, value * 0.5, mask, *rest)
            time.sleep(0.2)
        sound(pointers, value, mask, *rest)

    together()
    break_in(sweep, products, "publish", publish_early)
    row, p = small(cell)
    with pytest.raises(AssertionError):
        check(cell, row, p, torch.float32)


@pytest.mark.parametrize(("cell", "phase", "sweep"), EXCHANGES)
def test_a_buffer_filled_with_another_byte_would_be_noticed(cell, phase, sweep, together, break_in, monkeypatch):
    """The forward has one buffer per phase, the backward one in all, which is filled last."""
    together()
    break_in(sweep, products, "publish", slow_publisher(sweep))
    fill, calls = sweeps._unwritten, []
    broken = phase if sweep == "forward" else NUMBERS[cell].phases

    def filled(*shape):
        calls.append(shape)
        x = fill(*shape)
        return x.zero_() if len(calls) == 1 + broken else x

    monkeypatch.setattr(sweeps, "_unwritten", filled)
    row, p = small(cell)
    with pytest.raises(AssertionError):
        check(cell, row, p, torch.float32)


@pytest.mark.parametrize("cell", ["gru", "gru_before"])
def test_a_buffer_used_twice_would_be_noticed(cell, together, monkeypatch):
    """Every launch must fill a new buffer."""
    fill, kept, calls = sweeps._unwritten, {}, []
    buffers = NUMBERS[cell].phases + 1

    def reused(like, *shape):
        calls.append(shape)
        return kept.setdefault((len(calls) - 1) % buffers, fill(like, *shape))

    monkeypatch.setattr(sweeps, "_unwritten", reused)
    together()
    row, p = small(cell)
    check(cell, row, p, torch.float32)
    together(delays={1: 0.4})
    with pytest.raises(AssertionError):
        check(cell, row, problem(cell, 2, 3, 20, 1, True, False, torch.float32), torch.float32)


@pytest.mark.parametrize("sweep", MODULES)
@pytest.mark.parametrize("cell", NUMBERS)
def test_a_program_that_publishes_nothing_would_be_noticed(cell, sweep, together, break_in, monkeypatch):
    monkeypatch.setattr(launch, "POLLS", 300)
    together()
    break_in(sweep, products, "publish", lambda *_: None)
    row, p = small(cell)
    with pytest.raises(launch.SweepTimeoutError):
        check(cell, row, p, torch.float32)
