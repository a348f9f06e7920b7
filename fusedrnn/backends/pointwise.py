"""The engine of pointwise operations, which every backend computes alike, to the bit."""

from __future__ import annotations

from torch import Tensor

from fusedrnn.backends import triton
from fusedrnn.backends.choice import requested
from fusedrnn.backends.rules import AUTO


class BackendUnavailableError(RuntimeError):
    """The requested backend cannot run the call; the message says why."""


def pointwise_engine(backend: str | None, input: Tensor) -> str:
    """The engine of a pointwise operation on `input`, "triton" or "plain"; results are bit-identical.

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
