"""Programs that run at the same time hand each other their slices: right, whoever is late, and never for ever."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl
from process_per_program import Concurrent
from sweep_cases import check, problem

from fusedrnn.kernels import backward, forward, launch, sweeps
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
}
CELLS = ("gru", "gru_before", "lstm")


@pytest.fixture
def together(monkeypatch):
    """Give the interpreter room for 64 programs at once, and run them so."""

    def use(**options):
        concurrent = Concurrent(**options)
        monkeypatch.setattr(launch, "capacity", lambda device: 64)
        monkeypatch.setattr(launch, "start", concurrent)
        return concurrent

    return use


def run_forward(cell, p, row):
    f = {k: v.float() if v is not None and k != "lengths" else v for k, v in p.items()}
    return sweeps.forward(cell, f["gx"], f["h0"], f["c0"], f["w_hh"], f["b_hh"], f["lengths"], row, save=True)


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("cell", NUMBERS)
def test_one_launch_a_sweep_equals_the_textbook(cell, form, together):
    concurrent = together()
    check(cell, ROWS[form](37), problem(cell, 5, 3, 37, 1, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [3, 3]
    assert concurrent.cooperative == [True, True]


@pytest.mark.parametrize("cell", CELLS)
def test_lanes_wait_only_for_their_own_programs(cell, together):
    """Two directions of two batch tiles of two slices: eight programs."""
    concurrent = together()
    check(cell, ROWS["split"](20), problem(cell, 3, 17, 20, 2, False, True, torch.float32), torch.float32)
    assert concurrent.grids == [8, 8]


@pytest.mark.parametrize("late", [0, 1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_late_program_is_waited_for(cell, late, together):
    together(delays={late: 0.5})
    check(cell, ROWS["split"](37), problem(cell, 3, 2, 37, 1, True, False, torch.float32), torch.float32)


def test_lanes_that_do_not_fit_together_follow_each_other(together, monkeypatch):
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 5)
    check("gru", ROWS["split"](20), problem("gru", 3, 33, 20, 2, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [4, 4, 4] * 2  # six lanes of two programs, two lanes at a time


def test_lanes_share_a_multiprocessor_where_the_row_says_so(together, monkeypatch):
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 2)
    row = replace(ROWS["split"](20), per_sm=2)
    check("gru", row, problem("gru", 2, 33, 20, 1, True, False, torch.float32), torch.float32)
    assert concurrent.grids == [4, 2] * 2  # three lanes of two programs, two lanes at a time


def test_a_lane_that_does_not_fit_waits_for_nothing(together, monkeypatch):
    concurrent = together()
    monkeypatch.setattr(launch, "capacity", lambda device: 2)
    check("lstm", ROWS["split"](37), problem("lstm", 3, 2, 37, 1, True, True, torch.float32), torch.float32)
    assert concurrent.grids == [3] * 3 + [3] * 4
    assert not any(concurrent.cooperative)


@pytest.mark.parametrize("cell", CELLS)
def test_repeats_are_equal_in_every_bit(cell, together):
    together(delays={1: 0.1})
    p = problem(cell, 4, 3, 37, 1, True, True, torch.float32)
    first, second = (run_forward(cell, p, ROWS["split"](37)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a is b is None) or torch.equal(a, b)


@pytest.mark.parametrize("dead", [0, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_dead_neighbour_is_an_error_and_not_a_hang(cell, dead, together, monkeypatch):
    p = problem(cell, 4, 3, 37, 1, True, True, torch.float32)
    monkeypatch.setattr(launch, "POLLS", 300)
    together(killed=(dead,))
    with pytest.raises(
        launch.SweepTimeoutError, match=rf"forward sweep of {cell}, T=4 B=3 H=37 D=1 \(launch \d+, 3 slices"
    ):
        run_forward(cell, p, ROWS["split"](37))
    monkeypatch.setattr(launch, "POLLS", 1 << 22)
    together()
    check(cell, ROWS["split"](37), p, torch.float32)  # the next launch knows nothing of it


@pytest.mark.parametrize("cell", CELLS)
def test_what_a_failed_launch_returns_is_nan(cell, together, monkeypatch):
    """Where the error is noticed late (a GPU does not wait for the host to look), no number may pass for a result."""
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *a, **k: plain(self, *a, **k).zero_()
    )  # nothing else is NaN
    together(killed=(0,))
    monkeypatch.setattr(launch, "POLLS", 300)
    monkeypatch.setattr(launch, "check", lambda device: None)
    done = run_forward(cell, problem(cell, 4, 3, 37, 1, True, False, torch.float32), ROWS["split"](37))
    launch.error_word(torch.device("cpu")).zero_()
    assert done.output[1:, :, :, 16:].isnan().all()


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
