"""Machine-readable results of a run."""

import json
import math
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import fusedrnn

from .files import write_whole


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of the packages that affect a result and of `packages`, None if not installed."""
    return {
        "fusedrnn": fusedrnn.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in ("triton", *packages)},
    }


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON; tensors and arrays become lists, paths, inf and nan become strings.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, (json.dumps(_plain(record), ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
