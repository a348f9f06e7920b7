"""Until what has been launched is done: an error that the GPU reports late belongs to whoever launched it."""

from __future__ import annotations

import contextlib

import torch


def wait(device: torch.device) -> None:
    """Until the device is done.

    Raises:
        SweepTimeoutError: a program of a sweep waited in vain.
    """
    from fusedrnn.kernels import launch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    launch.check(device)


def settle(device: torch.device) -> None:
    """Until the device is done with what has failed, so that what comes next is not told of it."""
    with contextlib.suppress(Exception):
        wait(device)
