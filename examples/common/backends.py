"""Which backend runs a cell: the one that was asked for, but for a cell that it does not have."""

from functools import cache


def backend_for(cell: str, backend: str) -> str:
    """Return `backend`, or "reference" for the plain RNN on Triton, which has no kernel for it, and say so."""
    if (cell, backend) != ("rnn", "triton"):
        return backend
    _tell()
    return "reference"


@cache
def _tell() -> None:
    print("NOTE: the plain RNN has no Triton kernel; the reference runs it.")
