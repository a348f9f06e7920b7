"""Until what has been launched is done: an error that the GPU reports late belongs to whoever launched it."""

import torch


def wait(device: torch.device) -> None:
    """Until the device is done. Raises SweepTimeoutError if a program of a sweep waited in vain."""
    from fusedrnn.kernels import launch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    launch.check(device)


def late_error(device: torch.device) -> str | None:
    """What the device has to say of what was launched, once it is done: an error in words, or None.

    Who comes next is not told of it any more.
    """
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
