"""Layer normalisation in the sweeps, in one program and in several that exchange sums, against the reference in float64."""

import time

import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl
from process_per_program import program
from sweep_cases import FORMS, check, normal, problem, textbook

from fusedrnn.kernels import backward, forward, launch, norm, norm_backward, options, sweeps
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.reference.noise import Noise
from fusedrnn.reference.norm import Gains

CELLS = ("gru", "lstm", "rnn_tanh", "rnn_relu")
SEED = torch.tensor([1 << 40])
pytestmark = [
    pytest.mark.usefixtures("poisoned"),
    pytest.mark.skipif(not launch.INTERPRETED, reason="on a GPU programs are concurrent anyway"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of NaN in the interpreter
]


def drawn(cell, D, H, dtype):
    """Gains and biases that `dtype` represents exactly."""

    def draw(*shape):
        return (1 + torch.randn(*shape) / 4).to(dtype).double()

    of_c = (draw(D, H), draw(D, H)) if NUMBERS[cell].has_c else (None, None)
    return Gains(draw(D, NUMBERS[cell].gates * H), *of_c)


def with_norm(cell, T, B, H, D=1, noise=False, resets=False, lengths=False, dtype=torch.float32):
    p = problem(cell, T, B, H, D, True, lengths, dtype)
    p["options"] = {"gains": drawn(cell, D, H, dtype)}
    if resets:
        p["options"]["resets"] = torch.rand(T, B) < 0.4
    if noise:
        zoneout = (0.4, 0.3 if NUMBERS[cell].has_c else 0.0)
        p["options"]["noise"] = Noise(SEED, zoneout, 0.5 if NUMBERS[cell].gates > 1 else 0.0)
    return p


@pytest.mark.parametrize("form", ["alone", "one program"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_program_equals_the_reference(cell, form):
    row = FORMS[form](20)
    check(cell, row, with_norm(cell, 3, row.samples + 2, 20, 2, True, True, True), torch.float32)


def several():
    """Every cell and form; in the short run one form of each cell, and of the LSTM two."""
    for cell in CELLS:
        for form in ("registers", "ragged groups", "shared", "streamed"):
            short = form == "registers" or (cell, form) == ("lstm", "streamed")
            yield pytest.param(cell, form, marks=[] if short else pytest.mark.slow)


@pytest.mark.parametrize(("cell", "form"), list(several()))
def test_several_programs_equal_the_reference(cell, form, together):
    concurrent, row = together(), FORMS[form](37)
    check(cell, row, with_norm(cell, 3, 3, 37, 1, True, True, True), torch.float32)
    assert concurrent.grids == [3, 3]
    assert concurrent.cooperative == [True, True]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_lanes_sum_over_their_own_programs(cell, together):
    """Two directions of two batch tiles of two slices: eight programs, one of them late."""
    concurrent, row = together(delays={3: 0.2}), FORMS["registers"](20)
    check(cell, row, with_norm(cell, 3, row.samples + 1, 20, 2, lengths=True), torch.float32)
    assert concurrent.grids == [8, 8]


@pytest.mark.parametrize(
    "dtype", [torch.float64, pytest.param(torch.float16, marks=pytest.mark.slow), torch.bfloat16], ids=str
)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_dtype_equals_the_reference(cell, dtype, together):
    together()
    check(cell, FORMS["registers"](20), with_norm(cell, 3, 5, 20, dtype=dtype), dtype)


def run(cell, p, row):
    """Results of both sweeps in float32, with gradients of ones."""
    f = {k: v.float() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in p.items()}
    given = {k: v for k, v in p["options"].items() if k != "gains"}
    gains = Gains(*(g if g is None else g.float() for g in p["options"]["gains"]))
    states = [f[k] for k in ("h0", "c0")]
    done = sweeps.forward(
        cell, f["gx"], *states, f["w_hh"], f["b_hh"], f["lengths"], row, save=True, gains=gains, **given
    )
    back = sweeps.backward(
        cell, done.gates, done.output, done.cells, *states, f["w_hh"], f["lengths"],
        torch.ones_like(done.output), None, None, None, row, norm=normal(done.output, f, gains, given), **given,
    )  # fmt: skip
    return done, back


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_means_far_from_zero_cost_no_digits(cell, together):
    """A large mean of W_hh h, which the centred weights do not have, and one of c, next to which its variance is small."""
    together()
    p = with_norm(cell, 2, 3, 20)
    p["w_hh"] = (p["w_hh"] + 4).float().double()
    if cell == "lstm":
        p["c0"] = p["c0"] / 4 + 8
        p["gx"][..., 20:40] += 12  # forget nothing
    for got, want in zip(run(cell, p, FORMS["registers"](20))[0], textbook(cell, p), strict=False):
        assert (got.double() - want).norm() / want.norm() < 1e-5


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_sample_and_ends_at_a_reset(cell, together):
    together()
    p = with_norm(cell, 4, 3, 20)
    p["options"]["resets"] = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    clean = run(cell, p, FORMS["registers"](20))
    p["gx"][1, 0] = float("nan")
    dirty = run(cell, p, FORMS["registers"](20))
    assert dirty[0].output[1, 0].isnan().any()
    assert torch.equal(dirty[0].output[2:], clean[0].output[2:])
    for a, b in ((dirty[0].output, clean[0].output), (dirty[1].dgates, clean[1].dgates)):
        assert torch.equal(a[:, 1:], b[:, 1:])
    assert dirty[1].dgates[1, 0].isnan().any() or cell == "rnn_relu"


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_dead_neighbour_is_an_error_and_not_a_hang(cell, together, monkeypatch):
    monkeypatch.setattr(launch, "POLLS", 300)
    together(killed=(1,))
    with pytest.raises(launch.SweepTimeoutError, match=f"forward sweep of {cell}"):
        run(cell, with_norm(cell, 2, 3, 20), FORMS["registers"](20))


def test_programs_that_cannot_run_together_are_refused():
    """A launch a tick would leave the sums of a step unfinished."""
    with pytest.raises(
        RuntimeError, match=r"expected at most 1 programs a lane, which all run at the same time, got 2"
    ):
        run("gru", with_norm("gru", 2, 3, 20), FORMS["registers"](20))


@triton.jit
def load_once(pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr):
    found = ()
    for n in tl.static_range(COUNT):
        found = found + (tl.load(pointers[n]),)  # noqa: RUF005
    return found + (polls,)  # noqa: RUF005


@triton.jit
def continue_once(
    seen, pointers, polls, error_ptr, launch_id, COUNT: tl.constexpr, EACH: tl.constexpr, BITS: tl.constexpr
):
    return seen + (polls,)  # noqa: RUF005


def broken_while(monkeypatch, kernel, name, broken):
    """Replace a function of `norm` while one kernel is launched; its second program publishes its sums late."""
    start, sound = launch.start, norm.publish

    def late(*arguments):
        if program() == 1:
            time.sleep(0.2)
        sound(*arguments)

    def broken_start(launched, *rest):
        with monkeypatch.context() as patch:
            if launched is kernel:
                patch.setattr(norm_backward if name == "poll_on" else norm, name, broken)
                patch.setattr(norm, "publish", late)
            start(launched, *rest)

    monkeypatch.setattr(launch, "start", broken_start)


@pytest.mark.parametrize(
    ("cell", "kernel", "name", "broken"),
    [
        ("gru", forward.forward_sweep, "poll", load_once),
        ("lstm", forward.forward_sweep, "poll", load_once),
        ("gru", backward.backward_sweep, "poll_on", continue_once),
        ("lstm", backward.backward_sweep, "poll_on", continue_once),
        ("lstm", backward.backward_sweep, "poll", load_once),
    ],
)
def test_a_sum_that_is_not_waited_for_would_be_noticed(cell, kernel, name, broken, together, monkeypatch):
    together()
    broken_while(monkeypatch, kernel, name, broken)
    with pytest.raises(AssertionError):
        check(cell, FORMS["registers"](20), with_norm(cell, 3, 3, 20), torch.float32)


def test_the_sums_of_absent_programs_are_zeros():
    sums = options.sums_of(torch.empty(0), options.norm_of(5), 5, 2, 3)
    assert options.norm_of(1) == 1
    assert sums.shape == (2, 3, 8)
    assert (sums[..., 5:] == 0).all()
    assert (sums[..., :5].contiguous().view(torch.int32) == -1).all()
