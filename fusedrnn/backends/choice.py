"""The backend that is asked for: by argument, else the innermost `use_backend`, else FUSEDRNN_BACKEND, else "auto"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

AUTO = "auto"
NAMES = ("reference", "aten", "triton")
_chosen: ContextVar[str | None] = ContextVar("fusedrnn_backend", default=None)
_open: list[str] = []
"""Every open block of any thread: torch.compile cannot see a ContextVar, but recompiles when this list changes."""


def check_name(name: str) -> str:
    """Return `name` if it is "auto" or a backend.

    Raises:
        ValueError: it is neither.
    """
    if name != AUTO and name not in NAMES:
        raise ValueError(f"backend: expected one of {', '.join([AUTO, *NAMES])}, got {name!r}")
    return name


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Choose the backend of every call inside the `with` block that names none itself; per thread and task.

    Code under torch.compile goes by the block that any thread opened last.

    Raises:
        ValueError: no such backend.
    """
    token = _chosen.set(check_name(name))
    _open.append(name)
    try:
        yield
    finally:
        del _open[-1 - _open[::-1].index(name)]
        _chosen.reset(token)


def requested(name: str | None) -> str:
    """The name in force for a call that asked for `name`; compiled code reads the environment once, when it is traced."""
    name = name or (_innermost() if torch.compiler.is_compiling() else _chosen.get())
    if name is None and _KEY in _ENVIRONMENT:
        name = os.environ.get(_VARIABLE)
    return check_name(name) if name else AUTO


_VARIABLE = "FUSEDRNN_BACKEND"
_ENVIRONMENT: Any = getattr(os.environ, "_data", os.environ)
"""The dictionary inside os.environ: looking up a missing name through os.environ takes a tenth of a cell's call."""
_KEY: Any = os.environ.encodekey(_VARIABLE) if hasattr(os.environ, "_data") else _VARIABLE


def _innermost() -> str | None:
    return _open[-1] if _open else None
