"""Waiting for the device, so that an error that the GPU reports late is charged to the launch that caused it."""

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


def usable(device: torch.device | str) -> bool:
    """Whether this process can still use the device: after some errors it cannot."""
    try:
        return bool(torch.ones(1, device=device).add_(1).item() == 2)
    except RuntimeError:
        return False
