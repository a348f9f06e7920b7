"""On a GPU: the backend "auto" measures a kind of call once, remembers what it found, and leaves the caller as it was."""

import contextlib
import gc

import pytest
import torch

pytest.importorskip("triton")

from auto_cases import decisions, force, fresh, only_kind, run_python, told_of_a_wrong_result
from gpu_cases import DEVICE, module, results
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from fusedrnn.auto import choose, trial
from fusedrnn.backends import rules, triton

pytestmark = pytest.mark.gpu
SIZES = (32, 64, 8, 16)
"""I, H, T, B."""
DTYPE = torch.bfloat16
CHECKED = ("--hidden", "64", "512")
"""What the command line is asked to check."""


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch, tmp_path):
    fresh(monkeypatch, tmp_path / "decisions")
    yield
    choose.forget()


def given(cell="lstm", **options):
    """A module on the backend "auto", its input, and an upstream gradient of its output."""
    I, H, T, B = SIZES
    net = module(cell, I, H, DTYPE, None, **options)
    x, up = (torch.randn(T, B, width, device=DEVICE).to(DTYPE) for width in (I, H))
    return net, x, up


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def told(caplog):
    """The lines that say what was measured."""
    return [record.getMessage() for record in caplog.records if "measured in" in record.getMessage()]


def forbid_measurements(monkeypatch):
    def measure(*_):
        raise AssertionError("expected no measurement, got one")

    monkeypatch.setattr(trial, "measure", measure)


def test_the_first_call_measures_and_a_process_that_knows_nothing_finds_it(caplog, monkeypatch):
    caplog.set_level("INFO", "fusedrnn")
    net, x, up = given()
    results(net, x, up)
    (line,) = told(caplog)
    (found,) = decisions()
    assert line.startswith(f"auto: {found.backend} for lstm ")
    assert found.ours_ms > 0
    assert found.torch_ms > 0
    results(net, x, up)
    choose.forget()
    forbid_measurements(monkeypatch)
    results(net, x, up)
    (again,) = decisions()
    assert again.to_dict() == found.to_dict()
    assert len(told(caplog)) == 1


OTHER_PROCESS = """
import torch
from auto_cases import decisions
from fusedrnn.auto import trial
from tests.gpu.test_auto import given, results
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


def test_torchs_random_numbers_are_not_used():
    net, x, up = given()
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if DEVICE == "cuda" else [])]
    results(net, x, up)
    assert decisions()
    after = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if DEVICE == "cuda" else [])]
    assert equal(states, after)


def autocast():
    return torch.autocast(DEVICE, torch.bfloat16)


def copying_hooks():
    """Hooks that keep copies of the saved tensors."""
    return torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)


@pytest.mark.parametrize("block", [autocast, copying_hooks, torch.enable_grad], ids=lambda block: block.__name__)
def test_what_is_set_around_the_first_call_holds_for_it_alone(block, monkeypatch):
    force(monkeypatch, "triton")
    net, x, up = given()
    net = net.float()
    asked = torch.is_autocast_enabled(DEVICE)
    with block():
        first = results(net, x.float(), up.float())
    (found,) = decisions()
    assert found.backend == "triton", found.reason
    assert torch.is_autocast_enabled(DEVICE) is asked
    assert only_kind().dtype == ("bfloat16" if block is autocast else "float32")
    with block():
        assert equal(results(net, x.float(), up.float()), first)
    assert len(decisions()) == 1


def test_hooks_of_saved_tensors_see_nothing_of_a_measurement(monkeypatch):
    force(monkeypatch, "triton")
    net, x, up = given()
    seen = []

    def pack(tensor):
        seen.append(tensor)
        return tensor

    counts = []
    for _ in range(2):
        seen.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            results(net, x, up)
        counts.append(len(seen))
    net.backend = "triton"
    seen.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        results(net, x, up)
    assert counts == [len(seen)] * 2
    assert len(decisions()) == 1


def test_a_first_call_in_inference_mode_spoils_nothing(monkeypatch):
    force(monkeypatch, "triton")
    net, x, up = given()
    with torch.inference_mode():
        output, _ = net(x)
        assert torch.is_inference_mode_enabled()
    (found,) = decisions()
    assert (found.backend, output.is_inference(), only_kind().training) == ("triton", True, True)
    got = results(net, x, up)
    assert not any(result.is_inference() for result in got)
    torch.testing.assert_close(got[0], output, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_first_call_under_checkpoint_gives_the_gradients_of_a_plain_one(reentrant, monkeypatch):
    force(monkeypatch, "triton")
    net, x, up = given()

    def step(call):
        leaf = x.clone().requires_grad_()
        output = call(leaf)
        net.zero_grad()
        output.backward(up)
        return [output.detach(), leaf.grad, *(p.grad.clone() for p in net.parameters())]

    first = step(lambda leaf: checkpoint(lambda t: net(t)[0], leaf, use_reentrant=reentrant))
    assert only_kind().training
    assert equal(first, step(lambda leaf: net(leaf)[0]))


@pytest.mark.parametrize("default", ["cpu", "meta", DEVICE])
def test_torchs_default_device_does_not_matter(default, monkeypatch):
    force(monkeypatch, "triton")
    net, x, _ = given()
    packed = pack_padded_sequence(x, torch.arange(x.shape[1], 0, -1).clamp_max(len(x)))
    torch.set_default_device(default)
    try:
        first = net(packed)[0].data
        assert torch.get_default_device().type == default
    finally:
        torch.set_default_device(None)
    assert [found.backend for found in decisions()] == ["triton"]
    assert torch.equal(first, net(packed)[0].data)


def deterministically():
    """A first call with deterministic algorithms only. cuBLAS asks for a variable that is read when a process starts."""
    torch.use_deterministic_algorithms(True)
    try:
        results(*given())
    finally:
        torch.use_deterministic_algorithms(False)
    (found,) = decisions()
    assert found.ours_ms > 0, found.reason


def test_a_first_call_with_deterministic_algorithms():
    code = "from tests.gpu.test_auto import deterministically; deterministically()"
    done = run_python("-c", code, CUBLAS_WORKSPACE_CONFIG=":4096:8")
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_first_call_on_another_stream(monkeypatch):
    force(monkeypatch, "triton")
    net, x, up = given()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        first = results(net, x, up)
        assert torch.cuda.current_stream() == stream
    torch.cuda.synchronize()
    assert len(decisions()) == 1
    assert equal(first, results(net, x, up))


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
    assert (decisions(), told(caplog)) == ([], [])
    net.backend = "aten"
    with torch.no_grad():
        assert torch.equal(found[0], net(x)[0])
    net.backend = None
    results(net, x, up)
    assert len(told(caplog)) == 1


def captured(step):
    """The graph of a step, and its results."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    return graph, out


def warmed_up(step):
    """Run a step three times on another stream, as torch.cuda.graph's documentation does."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)


def test_in_the_capture_of_a_graph_nothing_is_measured(monkeypatch):
    net, x, _ = given()
    net.backend = "aten"
    with torch.no_grad():
        warmed_up(lambda: net(x))
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

    warmed_up(step)
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


def test_a_measurement_leaves_no_memory_allocated(monkeypatch):
    """Of the second one: a thread that calls cuBLAS has a workspace, which the next measurement's thread uses again."""
    force(monkeypatch, "triton")
    net, x, up = given()
    net.backend = "triton"
    results(net, x, up)  # moves the weights into one block, and has the workspaces of the other threads made
    results(*given("gru"))
    net.zero_grad()
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    net.backend = None
    kept = results(net, x, up)
    assert len(decisions()) == 2
    del kept
    net.zero_grad()
    gc.collect()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


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
        (found,) = decisions()
        assert found.backend == "aten"
        assert found.reason.startswith("the kernels are wrong on this card: ")
        assert choose.wrong_on(x.device) in found.reason
        forbid_measurements(monkeypatch)
        other, *more = given("gru")
        results(other, *more)  # another kind of call: the card is known
        choose.forget()
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
