"""The engine of dropout: which masks, and who applies them.

Backends that are asked for by name have the same masks, to the bit. "auto" has the same on a GPU; on a CPU it has torch's, which
are cheaper there and are those of torch.nn's modules with the same seed.
"""

from __future__ import annotations

from torch import Tensor

from fusedrnn.backends import triton
from fusedrnn.backends.choice import requested
from fusedrnn.backends.rules import AUTO


class BackendUnavailableError(RuntimeError):
    """The requested backend cannot run the call; the message says why.

    Example:
        >>> import torch
        >>> from fusedrnn import BackendUnavailableError, FusedGRU
        >>> gru = FusedGRU(8, 16, backend="triton", dtype=torch.complex64)
        >>> try:
        ...     gru(torch.randn(20, 3, 8, dtype=torch.complex64))
        ... except BackendUnavailableError as error:
        ...     print(type(error).__name__)
        BackendUnavailableError
    """


def torch_masks(backend: str | None, input: Tensor) -> bool:
    """Whether dropout in a call with `input` has the masks of `torch.dropout`."""
    return input.is_cpu and requested(backend) == AUTO


def pointwise_engine(backend: str | None, input: Tensor) -> str:
    """The engine of a pointwise operation on `input` without `torch_masks`, "triton" or "plain"; results are bit-identical.

    Raises:
        BackendUnavailableError: "triton" was requested and cannot run.
    """
    wanted = requested(backend)
    if wanted == AUTO:
        return triton.pointwise_engine(input)
    if wanted == "triton":
        refuse_for(triton.refuse_input(input))
    return "triton" if wanted == "triton" else "plain"


def refuse_for(reason: str | None) -> None:
    """Raise a BackendUnavailableError if there is a reason why Triton cannot run a call."""
    if reason is not None:
        raise BackendUnavailableError(f"backend 'triton' cannot serve this call: {reason}")
