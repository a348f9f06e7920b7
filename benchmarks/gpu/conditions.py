"""Checks of the gate that belong to no single form: graphs, streams, a busy GPU, dropout's bits. A job each, a row each."""

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor, nn

from benchmarks.gpu.gate import DROPOUT
from benchmarks.gpu.kernels import Kernel, Pointwise, Sweep
from benchmarks.gpu.waiting import wait, warm_up
from benchmarks.machine_code.absent import NOT_RUN
from benchmarks.measuring.peers import module
from benchmarks.measuring.records import Row
from fusedrnn.reference import counter_dropout as reference

ROUNDS = 10  # launches of each model beside the other
PRODUCTS = 20  # matrix products of 8192 x 8192, which keep a GPU busy for some tens of milliseconds


def _net(cell: str, H: int, device: str) -> nn.Module:
    torch.manual_seed(0)
    return module(cell, 32, H, "triton", device=device, dtype=torch.bfloat16)


def _given(T: int, B: int, device: str) -> Tensor:
    return torch.randn(T, B, 32, generator=torch.Generator().manual_seed(3)).to(device, torch.bfloat16)


def _different(got: Tensor, expected: Tensor, what: str) -> str | None:
    if torch.equal(got, expected):
        return None
    share = (got != expected).double().mean().item()
    return f"{what}: expected the bits of the call alone, got others in {share:.2%} of the elements"


def graph(device: str) -> str | None:
    """A CUDA graph of a training step, replayed with new input, gives the bits of a call."""
    net, x, up = _net("lstm", 256, device), _given(20, 16, device), torch.ones(20, 16, 256, device=device).bfloat16()
    given = x.clone().requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        output, _ = net(given)
        return output, torch.autograd.grad(output, given, up)[0]

    warm_up(step)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        output, gradient = step()
    with torch.no_grad():
        given.copy_(x.flip(0))
    captured.replay()
    torch.cuda.synchronize()
    got = output.clone(), gradient.clone()
    expected = step()
    return _different(got[0], expected[0], "output") or _different(got[1], expected[1], "gradient of x")


def streams(device: str) -> str | None:
    """Two models whose grids each want the whole GPU, launched side by side, give the bits of each alone."""
    nets, x = [_net(cell, 1024, device) for cell in ("gru", "lstm")], _given(60, 32, device)
    with torch.no_grad():
        alone = [net(x)[0] for net in nets]
        side = [torch.cuda.Stream() for _ in nets]
        torch.cuda.synchronize()
        found = []
        for _, k in product(range(ROUNDS), range(len(nets))):
            with torch.cuda.stream(side[k]):
                found.append((k, nets[k](x)[0]))
        torch.cuda.synchronize()
    differences = (_different(output, alone[k], f"model {k}") for k, output in found)
    return next(filter(None, differences), None)


def busy(device: str) -> str | None:
    """A GPU full of matrix products delays a sweep and does not break it."""
    net, x = _net("lstm", 1024, device), _given(60, 32, device)
    with torch.no_grad():
        expected = net(x)[0]
        a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(PRODUCTS):
                a @ a
        got = net(x)[0]
        torch.cuda.synchronize()
    return _different(got, expected, "output")


def dropout_bits(device: str) -> str | None:
    """The dropout kernels drop what the plain-PyTorch Philox of the CPU drops, in every dtype."""
    from fusedrnn.kernels import pointwise

    seed = torch.tensor([-0x123456789ABCDEF])
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(61, 1024, generator=torch.Generator().manual_seed(4)).to(dtype)
        for function, given in (("dropout", (x,)), ("bias_relu_dropout", (x, x[0].contiguous()))):
            got = getattr(pointwise, function)(*(tensor.to(device) for tensor in given), 0.3, seed.to(device)).cpu()
            name, expected = EXPECTED[function]
            if wrong := _different(got, expected(*given, 0.3, seed), f"{name} of {dtype}"):
                return wrong
    return None


EXPECTED = {
    "dropout": ("dropout", reference.counter_dropout),
    "bias_relu_dropout": ("bias, ReLU and dropout", reference.bias_relu_dropout),
}
CONDITIONS: dict[str, Callable[[str], str | None]] = {
    "dropout bits": dropout_bits, "CUDA graph": graph, "two streams": streams, "busy GPU": busy,
}  # fmt: skip
WITHOUT_A_GPU = ("dropout bits",)  # what the interpreter can tell


def kernels() -> Iterator[Kernel]:
    """What they run."""
    for function, dtype in product(("dropout", "bias_relu_dropout"), ("fp32", "bf16")):
        yield Pointwise(function, dtype)
    for cell, H in (("lstm", 256), ("gru", 1024), ("lstm", 1024)):
        yield Sweep("forward", cell, "bf16", 32, H, save=False)
        if H == 256:
            yield Sweep("forward", cell, "bf16", 16, H)
            yield Sweep("backward", cell, "bf16", 16, H)


def run_condition(name: str, device: str) -> list[Row]:
    """One row: whether the condition holds, and if not what was got."""
    (failed,) = condemned(name)
    if device == "cpu" and name not in WITHOUT_A_GPU:
        return [{**failed, **NOT_RUN}]
    try:
        wrong = CONDITIONS[name](device)
        wait(torch.device(device))
    except Exception as failure:
        wrong = f"{type(failure).__name__}: {failure}"
    return [{**failed, "verdict": "passed"} if wrong is None else {**failed, "error": wrong}]


def condemned(name: str) -> list[Row]:
    """Its row if it gives no answer."""
    subject = DROPOUT if name == "dropout bits" else name
    return [{"key": f"gate: {name}", "peer": "ours", "subject": subject, "verdict": "failed"}]
