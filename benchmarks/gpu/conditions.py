"""Checks of the gate that are no single form's: graphs, streams, a busy GPU, dropout's bits. A job each, a row each."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.gpu.gate import DROPOUT
from benchmarks.gpu.kernels import Kernel, Pointwise, Sweep
from benchmarks.gpu.waiting import wait
from benchmarks.machine_code.absent import NOT_RUN
from benchmarks.measuring.records import Row
from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.reference import counter_dropout as reference

ROUNDS = 10  # launches of each model beside the other
PRODUCTS = 20  # matrix products of 8192 x 8192 that keep a GPU busy for some tens of milliseconds


def _net(cell: str, H: int, device: str) -> nn.Module:
    torch.manual_seed(0)
    kind = FusedLSTM if cell == "lstm" else FusedGRU
    return kind(32, H, backend="triton", device=device, dtype=torch.bfloat16)


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

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
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
        lanes = [torch.cuda.Stream() for _ in nets]
        torch.cuda.synchronize()
        found: list[list[Tensor]] = [[], []]
        for _ in range(ROUNDS):
            for k, (net, lane) in enumerate(zip(nets, lanes, strict=True)):
                with torch.cuda.stream(lane):
                    found[k].append(net(x)[0])
        torch.cuda.synchronize()
    return next(
        (
            wrong for k, outputs in enumerate(found) for output in outputs
            if (wrong := _different(output, alone[k], f"model {k}"))
        ),
        None,
    )  # fmt: skip


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
        got = pointwise.dropout(x.to(device), 0.3, seed.to(device)).cpu()
        if wrong := _different(got, reference.counter_dropout(x, 0.3, seed), f"dropout of {dtype}"):
            return wrong
        bias = x[0].contiguous()
        got = pointwise.bias_relu_dropout(x.to(device), bias.to(device), 0.3, seed.to(device)).cpu()
        if wrong := _different(
            got, reference.bias_relu_dropout(x, bias, 0.3, seed), f"bias, ReLU and dropout of {dtype}"
        ):
            return wrong
    return None


CONDITIONS: dict[str, Callable[[str], str | None]] = {
    "dropout bits": dropout_bits, "CUDA graph": graph, "two streams": streams, "busy GPU": busy,
}  # fmt: skip
WITHOUT_A_GPU = ("dropout bits",)  # which of them mean something in the interpreter


def kernels() -> Iterator[Kernel]:
    """What they run."""
    for function in ("dropout", "bias_relu_dropout"):
        for dtype in ("fp32", "bf16"):
            yield Pointwise(function, dtype)
    for cell, H in (("lstm", 256), ("gru", 1024), ("lstm", 1024)):
        forward = Sweep("forward", cell, "bf16", 32, H, save=False)
        yield forward
        if H == 256:
            yield Sweep("forward", cell, "bf16", 16, H)
            yield Sweep("backward", cell, "bf16", 16, H)


def key_of(name: str) -> str:
    """A condition's name in the record."""
    return f"gate: {name}"


def run_condition(name: str, device: str) -> list[Row]:
    """One row: whether the condition holds, and if not what was got."""
    row = _about(name)
    if device == "cpu" and name not in WITHOUT_A_GPU:
        return [{**row, **NOT_RUN}]
    try:
        wrong = CONDITIONS[name](device)
        wait(torch.device(device))
    except Exception as failure:
        wrong = f"{type(failure).__name__}: {failure}"
    return [{**row, "verdict": "passed"} if wrong is None else {**row, "verdict": "failed", "error": wrong}]


def condemned(name: str) -> list[Row]:
    """Its row if it gives no answer."""
    return [{**_about(name), "verdict": "failed"}]


def _about(name: str) -> Row:
    return {"key": key_of(name), "peer": "ours", "subject": DROPOUT if name == "dropout bits" else name}
