"""The backend of a cell: the requested one, unless it does not support the cell."""

from functools import cache


def backend_for(cell: str, backend: str) -> str:
    """Return `backend`, or "reference", with a printed note, for the plain RNN, which has no Triton kernel."""
    if (cell, backend) != ("rnn", "triton"):
        return backend
    _tell()
    return "reference"


@cache
def _tell() -> None:
    print("NOTE: the plain RNN has no Triton kernel; the reference runs it.")
