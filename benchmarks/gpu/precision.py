"""Switching TF32 for products in float32 on or off within a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def allow_tf32(on: bool) -> Iterator[None]:
    """Both of torch's switches, that of cuDNN and that of plain products.

    cuDNN's is set by its own context manager: assignment is refused in a process where `torch.testing` has frozen it.
    """
    cudnn, before = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = on
    try:
        with cudnn.flags(
            enabled=cudnn.enabled, benchmark=cudnn.benchmark, benchmark_limit=cudnn.benchmark_limit,
            deterministic=cudnn.deterministic, allow_tf32=on, fp32_precision=cudnn.fp32_precision,
        ):  # fmt: skip
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
