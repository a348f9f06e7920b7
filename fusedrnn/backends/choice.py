"""The requested backend: the argument, else the innermost `use_backend`, else FUSEDRNN_BACKEND, else "auto"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from fusedrnn.backends.rules import AUTO, NAMES
from fusedrnn.types import Backend

Name = TypeVar("Name", bound=str)

_chosen: ContextVar[str | None] = ContextVar("fusedrnn_backend", default=None)
_open: list[str] = []
"""Names of all open blocks, of any thread: torch.compile cannot read a ContextVar, but recompiles when this list changes."""


def check_name(name: Name) -> Name:
    """Return `name` if it is "auto" or the name of a backend.

    Raises:
        ValueError: `name` is neither.
    """
    if name != AUTO and name not in NAMES:
        raise ValueError(f"backend: expected one of {', '.join([AUTO, *NAMES])}, got {name!r}")
    return name


@contextmanager
def use_backend(name: Backend) -> Iterator[None]:
    """Choose the backend of all calls inside the `with` block that do not name one, per thread and asyncio task.

    Compiled code uses the block that was opened last in any thread.

    Args:
        name: "auto", "reference", "aten" or "triton".

    Raises:
        ValueError: the backend does not exist.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedGRU, use_backend
        >>> with use_backend("reference"):
        ...     output, h_n = FusedGRU(8, 16)(torch.randn(20, 3, 8))
    """
    token = _chosen.set(check_name(name))
    _open.append(name)
    try:
        yield
    finally:
        del _open[-1 - _open[::-1].index(name)]
        _chosen.reset(token)


def requested(name: str | None, eager: bool = False) -> str:
    """The backend of a call with argument `name`. Compiled code reads the environment variable only when it is traced.

    `eager` is True if the caller knows that nothing is being traced.
    """
    name = name or (_chosen.get() if eager or not torch.compiler.is_compiling() else _innermost())
    if name is None and _KEY in _ENVIRONMENT:
        name = os.environ.get(_VARIABLE)
    return check_name(name) if name else AUTO


_VARIABLE = "FUSEDRNN_BACKEND"
_ENVIRONMENT: Any = getattr(os.environ, "_data", os.environ)
"""The dictionary inside os.environ: looking up a missing name in os.environ itself takes a tenth of the time of a cell's call."""
_KEY: Any = os.environ.encodekey(_VARIABLE) if hasattr(os.environ, "_data") else _VARIABLE


def _innermost() -> str | None:
    return _open[-1] if _open else None
