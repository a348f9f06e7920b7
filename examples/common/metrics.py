"""Machine-readable results of a run."""

import json
import math
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from .files import write_whole


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of the packages that affect a result and of `packages`, None if not installed."""
    import torch  # here: reading and writing records needs neither

    import fusedrnn

    return {
        "fusedrnn": fusedrnn.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in ("triton", *packages)},
    }


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a plain record as JSON: an entry of a dictionary a line, a list in one line.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, f"{_lines(record, 0)}\n".encode())


def _lines(value: Any, depth: int) -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    space = "  " * depth
    entries = [
        f"{space}  {json.dumps(key, ensure_ascii=False)}: {_lines(entry, depth + 1)}" for key, entry in value.items()
    ]
    return "{\n" + ",\n".join(entries) + f"\n{space}}}"


def plain(value: Any) -> Any:
    """Return what JSON can hold: tensors and arrays become lists, paths, inf and nan become strings."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
