"""Programs that run at the same time hand each other their slices: right, whoever is late, and never for ever."""

import time
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl
from process_per_program import Concurrent
from sweep_cases import FORMS, check, problem, textbook

from fusedrnn.kernels import backward, forward, launch, poll, polled, polled_backward, polled_forward, sweeps, tiles
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.exchange import arrive, wait
from fusedrnn.kernels.table import Row

pytestmark = [
    pytest.mark.usefixtures("poisoned"),
    pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU programs are concurrent anyway"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of NaN in the interpreter
]

ROWS = {
    "split": lambda H: Row(16, 16, 16, -(-H // 16), True),
    "dealt": lambda H: Row(16, 16, 16, -(-H // 32), True, split=2, group=1),
    "streamed": lambda H: Row(16, 16, 16, 1, False),
    "polled": FORMS["polled"],
}
CELLS = ("gru", "gru_before", "lstm")
POLLED = ("gru", "lstm")
WAITING = [*((cell, "split") for cell in CELLS), *((cell, "polled") for cell in POLLED)]
TOGETHER = [*((cell, form) for cell in NUMBERS for form in ROWS if form != "polled"), *WAITING[len(CELLS) :]]
MODULES = {"forward": polled_forward, "backward": polled_backward}
SWEEPS = {"forward": polled_forward.polled_forward, "backward": polled_backward.polled_backward}


@pytest.fixture
def together(monkeypatch):
    """Give the interpreter room for 64 programs at once, and run them so."""

    def use(**options):
        concurrent = Concurrent(**options)
        monkeypatch.setattr(launch, "capacity", lambda device: 64)
        monkeypatch.setattr(launch, "start", concurrent)
        return concurrent

    return use


@pytest.fixture
def break_in(monkeypatch):
    """Replace a function of a module in the launches of one kernel."""

    def use(kernel, module, name, broken):
        start = launch.start

        def broken_start(launched, *rest):
            with monkeypatch.context() as patch:
                if launched is kernel:
                    patch.setattr(module, name, broken)
                start(launched, *rest)

        monkeypatch.setattr(launch, "start", broken_start)

    return use


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


@pytest.mark.parametrize(("cell", "form"), TOGETHER)
def test_one_launch_a_sweep_equals_the_textbook(cell, form, together):
    concurrent = together()
    check(cell, ROWS[form](37), problem(cell, 5, 3, 37, 1, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [3, 3]
    assert concurrent.cooperative == [True, True]


@pytest.mark.parametrize(("cell", "form"), WAITING)
def test_lanes_wait_only_for_their_own_programs(cell, form, together):
    """Two directions of two batch tiles of two slices: eight programs."""
    concurrent, row = together(), ROWS[form](20)
    check(cell, row, problem(cell, 2, row.block_b + 1, 20, 2, False, True, torch.float32), torch.float32)
    assert concurrent.grids == [8, 8]


@pytest.mark.parametrize(
    ("cell", "form", "late"),
    [
        *((cell, "split", late) for cell in CELLS for late in range(3)),
        *(("gru", "polled", late) for late in (0, 2)),
        ("lstm", "polled", 1),
    ],
)
def test_a_late_program_is_waited_for(cell, form, late, together):
    together(delays={late: 0.5})
    check(cell, ROWS[form](37), problem(cell, 3, 2, 37, 1, True, False, torch.float32), torch.float32)


@pytest.mark.parametrize("form", ["split", "polled"])
def test_lanes_that_do_not_fit_together_follow_each_other(form, together, monkeypatch):
    concurrent, row = together(), ROWS[form](20)
    monkeypatch.setattr(launch, "capacity", lambda device: 5)
    check("gru", row, problem("gru", 2, 2 * row.block_b + 1, 20, 2, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [4, 4, 4] * 2  # six lanes of two programs, two lanes at a time


def test_lanes_share_a_multiprocessor_where_the_row_says_so(together, monkeypatch):
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 2)
    row = replace(ROWS["split"](20), per_sm=2)
    check("gru", row, problem("gru", 2, 2 * row.block_b + 1, 20, 1, True, False, torch.float32), torch.float32)
    assert concurrent.grids == [4, 2] * 2  # three lanes of two programs, two lanes at a time


@pytest.mark.parametrize(("cell", "form"), [("lstm", "split"), ("lstm", "polled")])
def test_a_lane_that_does_not_fit_waits_for_nothing(cell, form, together, monkeypatch):
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 2)
    check(cell, ROWS[form](37), problem(cell, 3, 2, 37, 1, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [3] * 3 + [3] * 4
    assert not any(concurrent.cooperative)


@pytest.mark.parametrize(("cell", "form"), WAITING)
def test_repeats_are_equal_in_every_bit(cell, form, together):
    together(delays={1: 0.1})
    p = problem(cell, 4, 3, 37, 1, True, True, torch.float32)
    first, second = (run_forward(cell, p, ROWS[form](37)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a is b is None) or torch.equal(a, b)


@pytest.mark.parametrize(
    ("cell", "form", "dead"),
    [*((cell, "split", dead) for cell in CELLS for dead in (0, 2)), ("gru", "polled", 0), ("lstm", "polled", 2)],
)
def test_a_dead_neighbour_is_an_error_and_not_a_hang(cell, form, dead, together, monkeypatch):
    p = problem(cell, 3, 3, 37, 1, True, True, torch.float32)
    monkeypatch.setattr(launch, "POLLS", 300)
    together(killed=(dead,))
    with pytest.raises(
        launch.SweepTimeoutError, match=rf"forward sweep of {cell}, T=3 B=3 H=37 D=1 \(launch \d+, 3 slices"
    ):
        run_forward(cell, p, ROWS[form](37))
    monkeypatch.setattr(launch, "POLLS", 1 << 22)
    together()
    check(cell, ROWS[form](37), p, torch.float32)  # the next launch knows nothing of it


@pytest.mark.parametrize("cell", POLLED)
def test_a_dead_neighbour_of_the_polled_backward_is_an_error_too(cell, together, monkeypatch):
    row, p = ROWS["polled"](20), problem(cell, 2, 3, 20, 1, True, False, torch.float32)
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


@pytest.mark.parametrize(("cell", "form"), WAITING)
def test_what_a_failed_launch_returns_is_nan(cell, form, together, monkeypatch):
    """Where the error is noticed late (a GPU does not wait for the host to look), no number may pass for a result."""
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *a, **k: plain(self, *a, **k).zero_()
    )  # nothing else is NaN
    together(killed=(0,))
    monkeypatch.setattr(launch, "POLLS", 300)
    monkeypatch.setattr(launch, "check", lambda device: None)
    done = run_forward(cell, problem(cell, 4, 3, 37, 1, True, False, torch.float32), ROWS[form](37))
    launch.error_word(torch.device("cpu")).zero_()
    assert done.output[1:, :, :, 16:].isnan().all()


@pytest.mark.parametrize("cell", POLLED)
def test_who_comes_after_the_others_gave_up_is_nan_too(cell, together, monkeypatch):
    """The late program is not told of the failure: its neighbours' NaN are what it reads."""
    together(delays={0: 2.0})
    monkeypatch.setattr(launch, "POLLS", 300)
    monkeypatch.setattr(launch, "check", lambda device: None)
    done = run_forward(cell, problem(cell, 3, 3, 37, 1, True, False, torch.float32), ROWS["polled"](37))
    launch.error_word(torch.device("cpu")).zero_()
    assert done.output[0].isfinite().all()
    assert done.output[1:, :, :, 16:].isnan().all()
    assert done.output[2:].isnan().all()
    assert done.h_n.isnan().all()


ODD = (torch.tensor(float("nan")), torch.tensor(-1, dtype=torch.int32).view(torch.float32), torch.tensor(float("inf")))
"""NaN, the NaN of all ones that what is exchanged starts as, and infinity."""


@pytest.mark.parametrize("cell", POLLED)
def test_what_is_not_finite_stays_in_its_sample_and_is_not_waited_for(cell, together):
    """Each value in a gx, in an h_0 and in a gradient of the output, of a sample each; the last sample has none."""
    together()
    row, p = ROWS["polled"](20), floats(problem(cell, 2, 10, 20, 1, True, False, torch.float32))
    d_output = torch.randn(2, 10, 1, 20)
    clean = run_forward(cell, p, row)
    clean = [*clean, *run_backward(cell, p, clean, d_output, row)]
    for sample, odd in enumerate(ODD):
        p["gx"][0, sample, :, 3] = odd
        p["h0"][:, 3 + sample, 5] = odd
        d_output[1, 6 + sample, :, 7] = odd
    dirty = run_forward(cell, p, row)
    expected = textbook(cell, {k: None if v is None else v.double() for k, v in p.items()})[0]
    assert torch.equal(dirty.output.isnan(), expected.isnan())
    dirty = [*dirty, *run_backward(cell, p, dirty, d_output, row)]
    for a, b in zip(clean, dirty, strict=True):
        assert (a is b is None) or torch.equal(a[:, 9], b[:, 9])
    dgates = dirty[6]
    assert dgates[0, :9].isfinite().logical_not().flatten(1).any(1)[[0, 1, 3, 4, 6, 7, 8]].all()


def test_a_failure_nobody_waited_for_is_raised_by_the_next_launch(together, monkeypatch):
    p = problem("gru", 4, 3, 37, 1, True, False, torch.float32)
    monkeypatch.setattr(launch, "INTERPRETED", False)  # a GPU's launcher does not look back
    with monkeypatch.context() as impatient:
        impatient.setattr(launch, "POLLS", 300)
        together(killed=(0,))
        run_forward("gru", p, ROWS["split"](37))
    together()
    with pytest.raises(launch.SweepTimeoutError, match="forward sweep of gru, T=4 B=3 H=37 D=1"):
        run_forward("gru", p, ROWS["split"](37))
    check("gru", ROWS["split"](37), p, torch.float32)


@triton.jit
def no_wait(counter_ptr, target, polls, error_ptr, launch_id):
    return polls


@triton.jit
def one_short(counter_ptr, target, polls, error_ptr, launch_id):
    seen = tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu")
    while seen < target - 1:
        seen = tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu")
    return polls


@triton.jit
def no_arrival(counter_ptr, polls):
    return


@pytest.mark.parametrize("broken", [no_wait, one_short], ids=["no wait", "wait for one too few"])
@pytest.mark.parametrize("sweep", [forward, backward], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_weak_wait_would_be_noticed(cell, sweep, broken, together, monkeypatch):
    monkeypatch.setattr(sweep, "wait", broken)
    together(delays={1: 1.0})
    with pytest.raises(AssertionError):
        check(cell, ROWS["split"](37), problem(cell, 4, 3, 37, 1, True, False, torch.float32), torch.float32)


@pytest.mark.parametrize("sweep", [forward, backward], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_missing_arrival_would_be_noticed(cell, sweep, together, monkeypatch):
    monkeypatch.setattr(sweep, "arrive", no_arrival)
    monkeypatch.setattr(launch, "POLLS", 300)
    together()
    with pytest.raises(launch.SweepTimeoutError):
        check(cell, ROWS["split"](37), problem(cell, 4, 3, 37, 1, True, False, torch.float32), torch.float32)


def test_a_counter_that_starts_above_zero_would_be_noticed(together, monkeypatch):
    """Why every launch gets counters of its own."""
    together(delays={1: 1.0})
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: zeros(*a, **k).add_(3))
    with pytest.raises(AssertionError):
        check("gru", ROWS["split"](37), problem("gru", 4, 3, 37, 1, True, False, torch.float32), torch.float32)


@triton.jit
def wait_and_arrive(counter_ptr, error_ptr, left_ptr, target, polls):
    left = wait(counter_ptr, target, polls, error_ptr, 7)
    arrive(counter_ptr, left)
    tl.store(left_ptr, left)


@pytest.mark.parametrize(
    ("target", "arrivals", "error", "left"), [(3, 4, 0, 5), (4, 3, 7, 0)], ids=["in time", "in vain"]
)
def test_a_program_that_waited_in_vain_says_so_and_arrives_no_more(target, arrivals, error, left):
    counter, word, polls = (torch.tensor([value], dtype=torch.int32) for value in (3, 0, 0))
    wait_and_arrive[(1,)](counter, word, polls, target, 5)
    assert [counter.item(), word.item(), polls.item()] == [arrivals, error, left]


@pytest.mark.parametrize("cell", POLLED)
def test_what_is_exchanged_is_read_and_written_within_its_bounds(cell, monkeypatch):
    """Before it and behind it lies NaN: read it would show in a result, and it is still there afterwards."""
    fill, walls = polled._unwritten, []

    def in_walls(like, *shape):
        x = fill(like, *shape)
        whole = torch.full((x.numel() + 2 * 4096,), float("nan"), dtype=x.dtype)
        walls.extend((whole[:4096], whole[-4096:]))
        whole[4096:-4096] = x.flatten()
        return whole[4096:-4096].view(shape)

    monkeypatch.setattr(polled, "_unwritten", in_walls)
    check(cell, ROWS["polled"](20), problem(cell, 2, 3, 20, 2, True, True, torch.float32), torch.float32)
    assert len(walls) == 4
    assert all(wall.isnan().all() for wall in walls)


@triton.jit
def load_once(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, IO: tl.constexpr):
    found = ()
    for n in tl.static_range(COUNT):
        found = found + (tl.load(pointers[n]),)  # noqa: RUF005
    return found + (polls,)  # noqa: RUF005


@triton.jit
def until_some(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, IO: tl.constexpr):
    found = ()
    for n in tl.static_range(COUNT):
        x = tl.load(pointers[n])
        while poll._absent(x, IO.primitive_bitwidth) == x.numel:
            x = tl.load(pointers[n])
        found = found + (x,)  # noqa: RUF005
    return found + (polls,)  # noqa: RUF005


@triton.jit
def publish_early(pointers, value, mask, EACH: tl.constexpr):
    tl.store(pointers, value * 0.5, mask=mask)
    time.sleep(0.4)
    tl.store(pointers, value, mask=mask)


@pytest.mark.parametrize("broken", [load_once, until_some], ids=["loads once", "waits for some elements"])
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_weak_poll_would_be_noticed(sweep, broken, together, break_in):
    together(delays={1: 0.7})
    break_in(SWEEPS[sweep], tiles, "poll", broken)
    with pytest.raises(AssertionError):
        check("gru", ROWS["polled"](20), problem("gru", 2, 3, 20, 1, True, False, torch.float32), torch.float32)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_publishing_before_the_value_is_right_would_be_noticed(sweep, together, break_in):
    together(delays={1: 0.2})  # programs in step with each other would all be right again when they read
    break_in(SWEEPS[sweep], MODULES[sweep], "publish", publish_early)
    with pytest.raises(AssertionError):
        check("gru", ROWS["polled"](20), problem("gru", 2, 3, 20, 1, True, False, torch.float32), torch.float32)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_buffer_filled_with_another_byte_would_be_noticed(sweep, together, monkeypatch):
    together(delays={1: 0.7})
    fill, calls = polled._unwritten, []

    def filled(*shape):
        calls.append(shape)
        x = fill(*shape)
        return x.zero_() if len(calls) == 1 + list(SWEEPS).index(sweep) else x

    monkeypatch.setattr(polled, "_unwritten", filled)
    with pytest.raises(AssertionError):
        check("gru", ROWS["polled"](20), problem("gru", 2, 3, 20, 1, True, False, torch.float32), torch.float32)


def test_a_buffer_used_twice_would_be_noticed(together, monkeypatch):
    """Why every launch fills a buffer of its own."""
    fill, kept = polled._unwritten, {}
    monkeypatch.setattr(polled, "_unwritten", lambda like, *shape: kept.setdefault(shape, fill(like, *shape)))
    together()
    check("gru", ROWS["polled"](20), problem("gru", 2, 3, 20, 1, True, False, torch.float32), torch.float32)
    together(delays={1: 0.7})
    with pytest.raises(AssertionError):
        check("gru", ROWS["polled"](20), problem("gru", 2, 3, 20, 1, True, False, torch.float32), torch.float32)


@triton.jit
def poll_and_tell(x_ptr, got_ptr, left_ptr, error_ptr, polls):
    at = tl.arange(0, 16)
    x, left = poll.poll((x_ptr + at,), tl.zeros((16,), tl.int32) + polls, error_ptr, 7, 1, 16, x_ptr.dtype.element_ty)
    tl.store(got_ptr + at, x)
    tl.store(left_ptr + at, left)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("polls", [5, 0], ids=["with polls left", "after a failure"])
@pytest.mark.parametrize("missing", [False, True], ids=["in time", "in vain"])
def test_a_program_that_polled_in_vain_says_so_and_polls_no_more(missing, polls, dtype):
    x = torch.arange(16.0).to(dtype)
    if missing:
        x[11:12].view(torch.uint8).fill_(255)
    got, left, word = torch.zeros(16, dtype=dtype), torch.full((16,), -1, dtype=torch.int32), torch.zeros(1).int()
    poll_and_tell[(1,)](x, got, left, word, polls)
    assert got.isnan().nonzero().flatten().tolist() == ([11] if missing else [])
    assert (left == (0 if missing else polls)).all()
    assert word.item() == (7 if missing else 0)
