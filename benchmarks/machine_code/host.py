"""Microseconds and operators of the host in a training step, on a GPU that is absent: launches do nothing.

    python -m benchmarks.machine_code.host

A layer whose sweeps take less than this is bound by the host. Times are medians on this machine's processor, good for comparing two
versions. The layers are so small that torch's operators on the CPU cost little more than their dispatch.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.benchmark import Timer

from benchmarks.machine_code import absent
from benchmarks.machine_code.absent import Chip
from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.backends import triton as backend_triton
from fusedrnn.kernels import launch

CHIP = Chip((9, 0), 132)
RUN_S = 0.5  # of each measurement


class _Operators(TorchDispatchMode):
    """Counts torch's operators."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def microseconds(call: Callable[[], Any]) -> float:
    """The median of a call."""
    return Timer("call()", globals={"call": call}).blocked_autorange(min_run_time=RUN_S).median * 1e6


def step_of(cell: str) -> dict[str, float]:
    """Of one layer: microseconds of a forward call, of a training step and of one launch in it; operators and launches."""
    net = (FusedLSTM if cell == "lstm" else FusedGRU)(16, 16, backend="triton")
    x, upstream = torch.randn(2, 4, 16), torch.randn(2, 4, 16)
    launched: list[tuple[Any, ...]] = []
    start = launch.start

    def forward() -> None:
        with torch.no_grad():
            net(x)

    def training() -> None:
        for parameter in net.parameters():
            parameter.grad = None
        net(x)[0].backward(upstream)

    with (
        mock.patch.object(launch, "start", lambda *given: launched.append(given) or start(*given)),
        _Operators() as seen,
    ):
        training()
    return {
        "forward_us": microseconds(forward), "step_us": microseconds(training),
        "launch_us": microseconds(lambda: start(*launched[0])), "launches": len(launched), "operators": seen.count,
    }  # fmt: skip


def main() -> None:
    """Print both cells' steps."""
    torch.set_num_threads(1)
    absent.install(CHIP)
    serves: dict[str, Any] = {"missing": lambda: None, "refuse_input": lambda _: None}
    with mock.patch.multiple(backend_triton, **serves):
        for cell in ("gru", "lstm"):
            print(cell, ", ".join(f"{name} {value:.0f}" for name, value in step_of(cell).items()))


if __name__ == "__main__":
    main()
