"""torch's switches of TF32 for float32 products: cuDNN's, which the kernels follow too, and that of plain products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def rnn_tf32() -> bool:
    """Whether float32 products of recurrent layers may use TF32."""
    try:
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:  # the switches of convolutions and recurrent layers differ, and torch refuses to name one
        return bool(torch.backends.cudnn.rnn.fp32_precision == "tf32")  # type: ignore[attr-defined]


def matmul_tf32() -> bool:
    """Whether plain float32 products may use TF32."""
    try:
        return bool(torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:  # it was set by one of torch's two interfaces and is asked for by the other
        return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")


@contextmanager
def allow_rnn_tf32(on: bool) -> Iterator[None]:
    """Switch cuDNN's within a block.

    By its own context manager: assignment is refused in a process where `torch.testing` has frozen it.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        benchmark_limit=cudnn.benchmark_limit,
        deterministic=cudnn.deterministic,
        allow_tf32=on,
        fp32_precision=cudnn.fp32_precision,
    ):
        yield


@contextmanager
def allow_tf32(on: bool) -> Iterator[None]:
    """Switch both within a block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = on
    try:
        with allow_rnn_tf32(on):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
