"""Dropout on a GPU: the bits of the CPU, new masks at every replay of a graph, no waiting for the device, and its speed."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from fusedrnn import FusedGRU, FusedLSTM, functional
from fusedrnn.reference import counter_dropout as reference

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SEED = torch.tensor([-0x123456789ABCDEF])


@pytest.fixture(scope="module")
def pointwise():
    pytest.importorskip("triton")
    from fusedrnn.kernels import pointwise

    return pointwise


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 1001, 2048, 1_000_003])
def test_the_bits_are_those_of_the_cpu(pointwise, size, dtype):
    x = torch.randn(size).to(dtype)
    for p in (0.1, 0.5, 1.0):
        assert torch.equal(pointwise.dropout(x.cuda(), p, SEED.cuda()).cpu(), reference.counter_dropout(x, p, SEED))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shared_dims", [0, 1, 2])
def test_strides_and_shared_masks_are_those_of_the_cpu(pointwise, shared_dims, dtype):
    x = torch.randn(37, 41, 136).to(dtype)
    for view in (x, x.transpose(0, 1), x[:, ::3], x[:, 1:, 1:], x[:, :1].expand(-1, 5, -1)):
        expected = reference.counter_dropout(view, 0.3, SEED, shared_dims)
        assert torch.equal(pointwise.dropout(view.cuda(), 0.3, SEED.cuda(), shared_dims).cpu(), expected)
        there = torch.empty_strided((40, 41, 136), (41 * 136, 136, 1), dtype=dtype, device="cuda")[:37]
        if view is x:
            assert torch.equal(pointwise.dropout(x.cuda(), 0.3, SEED.cuda(), shared_dims, out=there).cpu(), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [7, 136, 1000])
def test_bias_relu_dropout_is_that_of_the_cpu(pointwise, width, dtype):
    x, bias, grad = torch.randn(999, width).to(dtype), torch.randn(width).to(dtype), torch.randn(999, width).to(dtype)
    y = pointwise.bias_relu_dropout(x.cuda(), bias.cuda(), 0.3, SEED.cuda())
    assert torch.equal(y.cpu(), reference.bias_relu_dropout(x, bias, 0.3, SEED))
    got = pointwise.bias_relu_dropout_gradient(grad.cuda(), y, 0.3)
    assert torch.equal(got.cpu(), reference.bias_relu_dropout_gradient(grad, y.cpu(), 0.3))


@pytest.mark.alone
@pytest.mark.slow
def test_elements_beyond_32_bits_have_bits_of_their_own(pointwise):
    size = (1 << 32) + 12_345
    free, _ = torch.cuda.mem_get_info()
    if free < 3 * size:
        pytest.skip(f"expected {3 * size >> 30} GiB of free memory, got {free >> 30}")
    x = torch.ones(size, dtype=torch.float16, device="cuda")
    pointwise.dropout(x, 0.5, SEED.cuda(), out=x)
    for first in (0, (1 << 31) - 500, (1 << 32) - 500, size - 1000):
        expected = 2.0 * reference.kept(SEED, 0.5, 1000, first)
        assert torch.equal(x[first : first + 1000].cpu().float(), expected)


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
@pytest.mark.parametrize("variational", [False, True], ids=["per step", "variational"])
def test_a_stack_drops_the_same_on_every_backend(kind, variational):
    torch.manual_seed(0)
    module = kind(20, 96, 3, dropout=0.4, variational=variational, bidirectional=True, device="cuda")
    x = torch.randn(17, 9, 20, device="cuda", requires_grad=True)
    upstream = torch.randn(17, 9, 192, device="cuda")
    results = {}
    for backend in ("reference", "aten", "triton"):
        module.backend = backend
        torch.manual_seed(5)
        output = module(x)[0]
        results[backend] = [output, *torch.autograd.grad(output, [x, *module.parameters()], upstream)]
    for backend in ("aten", "triton"):
        for expected, got in zip(results["reference"], results[backend], strict=True):
            error = (got - expected).norm() / expected.norm()
            assert error < 2e-3, (backend, error)  # TF32 products; another mask would give an error near 1


def test_the_generator_of_the_device_decides():
    x = torch.ones(9999, device="cuda", requires_grad=True)
    torch.manual_seed(4)
    first, second = functional.dropout(x), functional.dropout(x)
    torch.manual_seed(4)
    assert torch.equal(functional.dropout(x), first)
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    y = checkpoint(lambda x: functional.dropout(x.sin()), x, use_reentrant=False)
    torch.randn(3, device="cuda")
    y.sum().backward()
    assert torch.equal(x.grad != 0, first != 0)


def test_every_replay_of_a_graph_draws_another_mask():
    x = torch.ones(9999, device="cuda")
    functional.dropout(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = functional.dropout(x)
    masks = []
    for seed in (1, None, 1):
        if seed is not None:
            torch.cuda.manual_seed(seed)
        graph.replay()
        masks.append(y.clone())
    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])
    assert abs((masks[0] == 0).double().mean().item() - 0.5) < 0.025


def test_nothing_waits_for_the_device():
    x, bias = torch.ones(99, 136, device="cuda", requires_grad=True), torch.ones(136, device="cuda")

    def both():
        (functional.dropout(x) + functional.bias_relu_dropout(x, bias)).sum().backward()

    both()
    torch.cuda.set_sync_debug_mode("error")
    try:
        both()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def milliseconds(function, repeats=30):
    """The median of `repeats` runs, each timed on the device."""
    for _ in range(5):
        function()
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for start, end in pairs:
        start.record()
        function()
        end.record()
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(end) for start, end in pairs)[repeats // 2]


@pytest.mark.alone
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_forward_and_backward_run_near_the_bandwidth_of_a_copy(pointwise, dtype):
    x = torch.randn(1 << 28, dtype=dtype, device="cuda")
    out, seed = torch.empty_like(x), SEED.cuda()
    copy = milliseconds(lambda: out.copy_(x))
    ours = milliseconds(lambda: pointwise.dropout(x, 0.5, seed, out=out))
    theirs = milliseconds(lambda: torch.nn.functional.dropout(x, 0.5))
    print(f"{dtype}: copy {copy:.3f} ms, dropout {ours:.3f} ms, torch.nn.functional.dropout {theirs:.3f} ms")
    assert copy / ours > 0.8
    assert ours < theirs


@pytest.mark.alone
def test_training_is_no_slower_than_torchs_dropout():
    x = torch.randn(1 << 27, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    upstream = torch.randn_like(x)

    def train(dropout):
        torch.autograd.grad(dropout(x, 0.5), x, upstream)

    ours, theirs = (milliseconds(lambda d=d: train(d)) for d in (functional.dropout, torch.nn.functional.dropout))
    print(f"forward and backward: ours {ours:.3f} ms, torch.nn.functional.dropout {theirs:.3f} ms")
    assert ours < theirs
