"""Which implementation serves a call, and why.

In order: the `backend` argument, the innermost `use_backend`, the environment variable FUSEDRNN_BACKEND, "auto". An explicit
choice that cannot serve is an error, never a fallback.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fusedrnn.backends import aten as backend_aten
from fusedrnn.backends import reference as backend_reference
from fusedrnn.backends import triton as backend_triton
from fusedrnn.backends.auto import automatic
from fusedrnn.call import Call, Result

AUTO = "auto"
_BACKENDS: dict[str, ModuleType] = {b.name: b for b in (backend_reference, backend_aten, backend_triton)}
_chosen: ContextVar[str | None] = ContextVar("fusedrnn_backend", default=None)
_open: list[str] = []
"""Every open block of any thread: torch.compile cannot see a ContextVar, but recompiles when this changes."""


class BackendUnavailableError(RuntimeError):
    """The backend that was asked for cannot serve the call; the message says why."""


def check_name(name: str) -> str:
    """Return `name` if it is "auto" or a backend.

    Raises:
        ValueError: it is neither.
    """
    if name != AUTO and name not in _BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join([AUTO, *_BACKENDS])}, got {name!r}")
    return name


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with the reason why it cannot run here, or None if it can."""
    return {"reference": None, "aten": None, "triton": backend_triton.missing()}


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
    return _in_force(name or (_innermost() if torch.compiler.is_compiling() else _chosen.get()))


def requested_eagerly(name: str | None) -> str:
    """`requested` where nothing is compiled: the calls that run for ten microseconds ask only once."""
    return _in_force(name or _chosen.get())


def _in_force(name: str | None) -> str:
    if name is None and _KEY in _ENVIRONMENT:
        name = os.environ.get(_VARIABLE)
    return check_name(name) if name else AUTO


_VARIABLE = "FUSEDRNN_BACKEND"
_ENVIRONMENT: Any = getattr(os.environ, "_data", os.environ)
"""What os.environ keeps: to ask it for a name that it lacks costs a cell's call a tenth of its time."""
_KEY: Any = os.environ.encodekey(_VARIABLE) if hasattr(os.environ, "_data") else _VARIABLE


def _innermost() -> str | None:
    return _open[-1] if _open else None


def run(call: Call, name: str | None) -> Result:
    """Run `call` on the backend in force.

    Raises:
        ValueError: no backend has that name.
        BackendUnavailableError: the backend asked for cannot serve `call`.
    """
    wanted = requested(name)
    if wanted == AUTO:
        wanted = automatic(call)
    backend = _BACKENDS[wanted]
    reason = backend.refuse(call)
    if reason is not None:
        raise BackendUnavailableError(f"backend {wanted!r} cannot serve this call: {reason}")
    result: Result = backend.run(call)
    return result


def pointwise_engine(name: str | None, input: Tensor) -> str:
    """Name what runs an operation on `input` that every backend computes alike, to the bit: "triton" or "plain".

    Raises:
        BackendUnavailableError: "triton" was asked for and cannot.
    """
    wanted = requested(name)
    if wanted == AUTO:
        return backend_triton.pointwise_engine(input)
    reason = backend_triton.refuse_input(input) if wanted == "triton" else None
    if reason is not None:
        raise BackendUnavailableError(f"backend 'triton' cannot serve this call: {reason}")
    return "triton" if wanted == "triton" else "plain"
