"""What can come of a measurement instead of a decision, and who is to blame for an exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class WrongResultError(RuntimeError):
    """The kernels compute something wrong, or hang, on this machine; the message says what."""


class NotMeasuredError(RuntimeError):
    """There was no time, no memory or no result of torch's own; the message says which."""


class KernelError(RuntimeError):
    """The kernels raise an exception; the message is that exception's."""


OF_A_KERNEL = (
    "illegal memory access",
    "misaligned address",
    "illegal instruction",
    "invalid program counter",
    "unspecified launch failure",
    "launch timed out",
)
"""In messages of CUDA about what a kernel has done; others are about memory, captures or the driver."""


@contextmanager
def of_kernels() -> Iterator[None]:
    """Turn what the kernels raise into one of these errors."""
    from fusedrnn.kernels.launch import SweepTimeoutError

    try:
        yield
    except (WrongResultError, NotMeasuredError, KernelError):
        raise
    except torch.OutOfMemoryError as error:
        raise _no_memory(error) from error
    except SweepTimeoutError as error:
        raise WrongResultError(_line(error)) from error
    except torch.AcceleratorError as error:
        fatal = any(words in str(error) for words in OF_A_KERNEL)
        raise (WrongResultError if fatal else NotMeasuredError)(_line(error)) from error
    except Exception as error:
        raise KernelError(_line(error)) from error


@contextmanager
def of_torch() -> Iterator[None]:
    """Turn what torch's own implementation, the reference or an allocation raises into a NotMeasuredError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _no_memory(error) from error
    except NotMeasuredError:
        raise
    except Exception as error:
        raise NotMeasuredError(f"torch's own raises {_line(error)}") from error


def _no_memory(error: Exception) -> NotMeasuredError:
    return NotMeasuredError(f"expected memory for a measurement, got none: {_line(error)}")


def _line(error: Exception) -> str:
    """The type and the first line of the message."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"
