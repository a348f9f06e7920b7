"""Atomic writing of files, and output directories."""

import os
import tempfile
from pathlib import Path

from .errors import UserError


def prepare_directory(path: Path) -> None:
    """Create the output directory and check that it is writable before the experiment starts.

    Raises:
        UserError: it cannot be created or is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"expected a writable output directory, got {path}: {error.strerror}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file and rename it to `path`; on failure remove the temporary file.

    Raises:
        UserError: the file cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"expected to write {path}, got: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
