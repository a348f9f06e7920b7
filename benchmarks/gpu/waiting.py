"""Waiting for the device, so that an error that the GPU reports late is charged to the launch that caused it; warming up."""

from collections.abc import Callable
from typing import Any

import torch


def wait(device: torch.device) -> None:
    """Wait until the device is done. Raises SweepTimeoutError if a program of a sweep timed out."""
    from fusedrnn.kernels import launch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    launch.check(device)


def late_error(device: torch.device) -> str | None:
    """Wait, and return the error of what was launched, in words, or None; the error is cleared."""
    try:
        wait(device)
    except Exception as failure:
        return f"{type(failure).__name__}: {failure}"
    return None


def warm_up(step: Callable[[], Any]) -> None:
    """Run a step three times on another stream, before a CUDA graph captures it, as torch.cuda.graph's documentation does."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)


def usable(device: torch.device | str) -> bool:
    """Whether this process can still use the device: after some errors it cannot."""
    try:
        return bool(torch.ones(1, device=device).add_(1).item() == 2)
    except RuntimeError:
        return False
