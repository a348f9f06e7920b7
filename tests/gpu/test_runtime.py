"""On a real GPU: repeats, graphs, streams, neighbours, big offsets, time-outs, recompilation, and compute-sanitizer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from gpu_cases import CELLS, DEVICE, module, results

from benchmarks.gpu.waiting import warm_up

pytestmark = pytest.mark.gpu


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("H", [64, 512, 1024])
@pytest.mark.parametrize("cell", CELLS)
def test_fifty_repeats_are_equal_in_every_bit(cell, H):
    ours = module(cell, 64, H, torch.bfloat16, "triton", bidirectional=True)
    x = torch.randn(40, 48, 64, device=DEVICE, dtype=torch.bfloat16)
    up = torch.randn(40, 48, 2 * H, device=DEVICE, dtype=torch.bfloat16)
    first = results(ours, x, up)
    for _ in range(49):
        assert equal(results(ours, x, up), first)


@pytest.mark.parametrize("cell", CELLS)
def test_a_lane_that_may_not_wait_gives_the_same_bits(cell, monkeypatch):
    """A launch a step, as on a GPU that cannot hold a lane's programs at once, against one launch for all steps."""
    from fusedrnn.kernels import launch

    ours = module(cell, 64, 256, torch.bfloat16, "triton")
    x = torch.randn(12, 20, 64, device=DEVICE, dtype=torch.bfloat16)
    up = torch.randn(12, 20, 256, device=DEVICE, dtype=torch.bfloat16)
    together = results(ours, x, up)
    monkeypatch.setattr(launch, "capacity", lambda device: 1)
    assert equal(results(ours, x, up), together)


@pytest.mark.parametrize("cell", CELLS)
def test_a_graph_replays_forward_and_backward(cell):
    ours = module(cell, 32, 256, torch.bfloat16, "triton", layers=2)
    x = torch.randn(20, 16, 32, device=DEVICE, dtype=torch.bfloat16)
    up = torch.randn(20, 16, 256, device=DEVICE, dtype=torch.bfloat16)
    given = x.clone().requires_grad_()

    def step():
        ours.zero_grad(set_to_none=False)
        given.grad = None
        output, _ = ours(given)
        output.backward(up)
        return output, given.grad

    warm_up(step)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output, gradient = step()
    for _ in range(3):
        new = torch.randn_like(x)
        with torch.no_grad():
            given.copy_(new)
        graph.replay()
        torch.cuda.synchronize()
        fresh = new.clone().requires_grad_()
        expected, _ = ours(fresh)
        (expected_gradient,) = torch.autograd.grad(expected, fresh, up)
        assert torch.equal(output, expected)
        assert torch.equal(gradient, expected_gradient)


def test_side_streams_and_two_models_at_once():
    """Two models whose grids each fill the GPU, launched repeatedly on two streams: correct results and no time-out."""
    nets = [module(cell, 32, 1024, torch.bfloat16, "triton") for cell in ("gru", "lstm")]
    x = torch.randn(60, 32, 32, device=DEVICE, dtype=torch.bfloat16)
    alone = [net(x)[0] for net in nets]
    streams = [torch.cuda.Stream() for _ in nets]
    torch.cuda.synchronize()
    found = [[], []]
    with torch.no_grad():
        for _ in range(20):
            for k, (net, stream) in enumerate(zip(nets, streams, strict=True)):
                with torch.cuda.stream(stream):
                    found[k].append(net(x)[0])
    torch.cuda.synchronize()
    for expected, outputs in zip(alone, found, strict=True):
        assert all(torch.equal(output, expected) for output in outputs)


@pytest.mark.alone
def test_a_busy_gpu_delays_but_does_not_break():
    net = module("lstm", 32, 1024, torch.bfloat16, "triton")
    x = torch.randn(60, 32, 32, device=DEVICE, dtype=torch.bfloat16)
    expected = net(x)[0]
    a = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(30):
            a @ a
    got = net(x)[0]
    torch.cuda.synchronize()
    assert torch.equal(got, expected)


@pytest.mark.alone
@pytest.mark.slow
def test_offsets_beyond_two_to_the_31():
    """One long call equals the same steps in short calls, whose offsets are small: every bit."""
    T, B, H = 4400, 512, 256
    if torch.cuda.get_device_properties(0).total_memory < 60 << 30:
        pytest.skip("needs 60 GiB of GPU memory")
    net = module("lstm", 16, H, torch.bfloat16, "triton")
    assert T * B * 4 * H > 2**31
    x = torch.randn(T, B, 16, device=DEVICE, dtype=torch.bfloat16)
    output, (h, c) = net(x)
    with torch.no_grad():
        states, begin = None, 0
        for part in x.split(400):
            short, states = net(part, states)
            assert torch.equal(short, output[begin : begin + len(part)]), begin
            begin += len(part)
    assert torch.equal(states[0], h)
    output[-1].float().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert torch.equal(states[1], c)


@pytest.mark.alone
@pytest.mark.parametrize("cell", CELLS)
def test_a_missing_program_is_an_error_and_not_a_hang(cell, monkeypatch):
    from fusedrnn.kernels import launch

    net = module(cell, 16, 256, torch.float16, "triton")
    x = torch.randn(8, 4, 16, device=DEVICE, dtype=torch.float16)
    expected, _ = net(x)
    original = launch.start
    monkeypatch.setattr(launch, "POLLS", 10_000)
    monkeypatch.setattr(launch, "start", lambda kernel, programs, *rest: original(kernel, programs - 1, *rest))
    broken, _ = net(x)
    torch.cuda.synchronize()
    assert broken[1:].isnan().any()
    monkeypatch.setattr(launch, "start", original)
    with pytest.raises(launch.SweepTimeoutError, match=f"forward sweep of {cell}, T=8 B=4 H=256 D=1"):
        net(x)
    assert torch.equal(net(x)[0], expected)


def test_steps_and_batch_do_not_recompile():
    from fusedrnn.kernels.forward import forward_sweep

    net = module("gru", 16, 256, torch.bfloat16, "triton")

    def run(T, B):
        net(torch.randn(T, B, 16, device=DEVICE, dtype=torch.bfloat16))
        return sum(len(caches[0]) for caches in forward_sweep.device_caches.values())

    compiled = run(5, 3)
    assert {run(T, B) for T, B in ((1, 1), (16, 16), (7, 16), (33, 2))} == {compiled}


@pytest.mark.alone
def test_packed_costs_at_most_a_tenth_more():
    net = module("gru", 128, 512, torch.bfloat16, "triton").requires_grad_(False)
    x = torch.randn(500, 32, 128, device=DEVICE, dtype=torch.bfloat16)
    lengths = torch.full((32,), 500, device=DEVICE)

    def median(**options):
        times = []
        for _ in range(12):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            net(x, **options)
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
        return sorted(times[2:])[5]

    assert median(lengths=lengths) <= 1.1 * median()


SANITIZED = """
import torch
from gpu_cases import module, results
for cell in ("gru", "gru_before", "lstm"):
    for H in (40, 256):
        net = module(cell, 8, H, torch.bfloat16, "triton", bidirectional=True)
        x = torch.randn(5, 19, 8, device="cuda", dtype=torch.bfloat16)
        results(net, x, torch.randn(5, 19, 2 * H, device="cuda", dtype=torch.bfloat16))
torch.cuda.synchronize()
"""


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool):
    found = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if found is None:
        pytest.skip("compute-sanitizer is not installed")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests" / "helpers"), *sys.path])}
    command = [found, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SANITIZED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:]


def test_transforms_of_a_whole_module_do_not_touch_the_memory_of_its_weights():
    """Inside torch.func the weights are wrapped and have no memory to be moved."""
    ours, x = module("gru", 5, 8, torch.float32, None), torch.randn(4, 3, 5, device=DEVICE)
    weights = dict(ours.named_parameters())
    found = torch.func.grad(lambda w: torch.func.functional_call(ours, w, (x,))[0].sum())(weights)
    expected = torch.autograd.grad(ours(x)[0].sum(), list(weights.values()))
    for got, other in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(got, other)
