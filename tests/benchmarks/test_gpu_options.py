"""The measurement of what options cost: rows of what is right, and of what is wrong or fails no time."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.gpu import options
from benchmarks.gpu.kernels import distinct, of_option
from benchmarks.gpu.options import Option
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.run import say
from fusedrnn.kernels import sweeps

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="sizes are those of the interpreter")
CHIP = Chip((9, 0), 132)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """So few that samples start anew more often."""
    monkeypatch.setattr(options, "OFTEN", 0.5)


def tiny(name, cell="gru"):
    return Option(name, cell, 8, "fp32", T=3, B=2)


@pytest.mark.parametrize(("name", "cell"), list(zip(options.WITH, ("lstm", "gru", "lstm", "gru", "gru"), strict=True)))
def test_what_is_right_is_timed_beside_the_plain_layer(name, cell):
    (row,) = options.measure(tiny(name, cell), "cpu", 1)
    assert (row["verdict"], row["peer"], row["name"], row["cell"]) == ("passed", "option", name, cell)
    assert row["share"] > 0  # of the error that is allowed: it is no comparison of a result with itself
    assert row["ratio"] == pytest.approx(row["plain_s"] / row["median_s"])
    assert "plain / this" in say(row)


@pytest.mark.parametrize("name", options.WITH)
def test_the_option_acts(name):
    option, cpu = tiny(name), torch.device("cpu")

    def output(**how):
        torch.manual_seed(0)
        return options.step(option, options.net(option, "reference", cpu, torch.float32, **how), cpu, **how)()[0].value

    assert not torch.equal(output(), output(plain=True))


def test_what_is_wrong_gets_no_time(monkeypatch):
    right = sweeps.backward

    def wrong(*arguments, **more):
        done = right(*arguments, **more)
        return done._replace(dgates=done.dgates * 1.1)

    monkeypatch.setattr(sweeps, "backward", wrong)
    (row,) = options.measure(tiny("zoneout"), "cpu", 1)
    assert (row["verdict"], "median_s" in row) == ("failed", False)
    assert row["tensor"].startswith("gradient of")


def test_what_raises_is_told(monkeypatch):
    def fails(*arguments, **more):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(sweeps, "forward", fails)
    (row,) = options.measure(tiny("resets"), "cpu", 1)
    assert (row["verdict"], row["error"]) == ("failed", "RuntimeError: no such kernel")
    assert "median_s" not in row


def test_options_have_kernels_of_their_own_and_share_the_plain_ones():
    found = [distinct(of_option(Option(name, "gru", 512)), CHIP) for name in options.WITH]
    assert [len(kernels) for kernels in found] == [4] * len(options.WITH)
    everything = distinct([kernel for kernels in found for kernel in kernels], CHIP)
    assert len(everything) == 2 + 2 * len(options.WITH)
    heads = next(kernel for kernel in everything if kernel.option == "heads")
    assert (heads.H, heads.D) == (512 // options.HEADS, options.HEADS)


def test_keys_differ():
    wanted = options.every()
    keys = {one.key for option in wanted for one in (option, replace(option, T=7), replace(option, dtype="fp32"))}
    assert len(keys) == 3 * len(wanted) == 3 * len(options.WITH) * len(options.CELLS) * len(options.WIDTHS)
