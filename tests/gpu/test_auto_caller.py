"""On a GPU: a measurement of the backend "auto" leaves its caller as it was, and its caller's settings do not reach it."""

import gc

import pytest
import torch

pytest.importorskip("triton")

from auto_cases import decisions, equal, force, given, only_kind, run_python
from gpu_cases import DEVICE, results
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("empty_folder")]


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
    code = "from tests.gpu.test_auto_caller import deterministically; deterministically()"
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
