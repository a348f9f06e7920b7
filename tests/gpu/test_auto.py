"""On a GPU: the backend "auto" measures a kind of call once and remembers what it found; its results are the chosen backend's."""

import contextlib

import pytest
import torch

pytest.importorskip("triton")

from auto_cases import (
    decisions,
    equal,
    forbid_measurements,
    force,
    given,
    measurements,
    run_python,
    told_of_a_wrong_result,
)
from gpu_cases import DEVICE, results

from benchmarks.gpu.waiting import warm_up
from fusedrnn.auto import known, settle
from fusedrnn.backends import rules, triton

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("empty_folder")]
CHECKED = ("--hidden", "64", "512")
"""What the command line is asked to check."""


def test_the_first_call_measures_and_a_process_that_knows_nothing_finds_it(caplog, monkeypatch):
    caplog.set_level("INFO", "fusedrnn")
    net, x, up = given()
    results(net, x, up)
    (line,) = measurements(caplog)
    (found,) = decisions()
    assert line.startswith(f"auto: {found.backend} for lstm ")
    assert found.ours_ms > 0
    assert found.torch_ms > 0
    results(net, x, up)
    known.forget()
    forbid_measurements(monkeypatch)
    results(net, x, up)
    (again,) = decisions()
    assert again.to_dict() == found.to_dict()
    assert len(measurements(caplog)) == 1


OTHER_PROCESS = """
import torch
from auto_cases import decisions, given
from fusedrnn.auto import trial
from gpu_cases import results
def measure(*_):
    raise AssertionError("expected no measurement, got one")
trial.measure = measure
results(*given())
print(decisions()[0].to_dict())
"""


def test_another_process_finds_it():
    results(*given())
    (found,) = decisions()
    done = run_python("-c", OTHER_PROCESS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == str(found.to_dict())


@pytest.mark.parametrize("more_rows", [0, 2], ids=["the table's rows", "other rows"])
def test_the_kernels_that_are_chosen_give_their_own_bits(more_rows, monkeypatch):
    force(monkeypatch, "triton", more_rows=more_rows)
    net, x, up = given()
    first = results(net, x, up)
    (found,) = decisions()
    kernels, launched = triton.run, []
    monkeypatch.setattr(triton, "run", lambda call, rows: launched.append(rows) or kernels(call, rows))
    later = results(net, x, up)
    assert launched == [found.rows]
    assert found.backend == "triton", found.reason
    assert (found.rows == (-1, -1)) is (more_rows == 0)
    net.backend = "triton"
    monkeypatch.setitem(rules.ENGINES, "triton", lambda call: triton.run(call, found.rows))
    expected = results(net, x, up)
    assert equal(first, expected)
    assert equal(later, expected)


def test_where_torchs_own_is_chosen_the_output_has_its_bits(monkeypatch):
    force(monkeypatch, "aten")
    net, x, up = given()
    got = results(net, x, up)
    assert [found.backend for found in decisions()] == ["aten"]
    net.backend = "aten"
    assert equal(got[:3], results(net, x, up)[:3])  # cuDNN does not promise the same bits of gradients


class Calls(torch.autograd.Function):
    """A function whose backward calls a module."""

    @staticmethod
    def forward(ctx, x, call):
        ctx.call = call
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.call()
        return gradient, None


def test_inside_a_backward_nothing_is_measured(caplog, monkeypatch):
    caplog.set_level("INFO", "fusedrnn")
    force(monkeypatch, "triton")
    net, x, up = given()
    found = []
    Calls.apply(x.clone().requires_grad_(), lambda: found.append(net(x)[0])).sum().backward()
    assert (decisions(), measurements(caplog)) == ([], [])
    net.backend = "aten"
    with torch.no_grad():
        assert torch.equal(found[0], net(x)[0])
    net.backend = None
    results(net, x, up)
    assert len(measurements(caplog)) == 1


def captured(step):
    """The graph of a step, and its results."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    return graph, out


def test_in_the_capture_of_a_graph_nothing_is_measured(monkeypatch):
    net, x, _ = given()
    net.backend = "aten"
    with torch.no_grad():
        warm_up(lambda: net(x))
        expected = net(x)[0]
        net.backend = None
        forbid_measurements(monkeypatch)
        graph, (output, _) = captured(lambda: net(x))
        assert decisions() == []
        graph.replay()
        torch.cuda.synchronize()
    assert torch.equal(output, expected)


def test_a_graph_that_is_captured_after_a_warm_up_replays_what_was_chosen(monkeypatch):
    force(monkeypatch, "triton", more_rows=1)
    net, x, up = given()
    leaf = x.clone().requires_grad_()

    def step():
        output, _ = net(leaf)
        return output, torch.autograd.grad(output, leaf, up)[0]

    warm_up(step)
    (found,) = decisions()
    assert found.backend == "triton", found.reason
    graph, got = captured(step)
    with torch.no_grad():
        leaf.copy_(x.flip(0))
    graph.replay()
    torch.cuda.synchronize()
    net.backend = "triton"
    monkeypatch.setitem(rules.ENGINES, "triton", lambda call: triton.run(call, found.rows))
    assert equal(got, step())


@contextlib.contextmanager
def broken_sweep(monkeypatch):
    """A forward sweep whose output is 1.0 too large."""
    from fusedrnn.kernels import sweeps

    right = sweeps.forward

    def wrong(*arguments, **options):
        done = right(*arguments, **options)
        done.output.add_(1.0)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "forward", wrong)
        yield


def test_a_wrong_kernel_is_found_told_and_not_used(monkeypatch):
    net, x, up = given()
    with broken_sweep(monkeypatch):
        with told_of_a_wrong_result():
            got = results(net, x, up)
        results(net, x, up)  # the decision is that of the next call
        (found,) = decisions()
        assert found.backend == "aten"
        assert found.reason.startswith("the kernels are wrong on this card: ")
        assert settle.wrong_on(x.device) in found.reason
        forbid_measurements(monkeypatch)
        other, *more = given("gru")
        results(other, *more)  # another kind of call: the card is known
        known.forget()
        results(other, *more)  # and so it is to another process
    assert {found.backend for found in decisions()} == {"aten"}
    net.backend = "aten"
    assert equal(got[:3], results(net, x, up)[:3])


def test_the_command_line_finds_the_kernels_right():
    done = run_python("-m", "fusedrnn", "tune", "--check", "--device", DEVICE, *CHECKED)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "kind of call" in done.stdout


def test_the_command_line_measures_and_tells():
    done = run_python("-m", "fusedrnn", "tune", "--cell", "lstm", "--hidden", "64", "--batch", "16", "--steps", "8")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    done = run_python("-m", "fusedrnn", "info")
    assert done.returncode == 0, done.stderr[-3000:]
    table = done.stdout[done.stdout.index("kind of call") :]
    assert table.count("lstm bfloat16 I=64 H=64 L=1 D=1 B=16 T=8 ") == 2  # training and inference
    assert torch.cuda.get_device_name() in done.stdout
