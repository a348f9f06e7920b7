"""Files that are either the old one or the new one, never half of the new one."""

import os
import tempfile
from pathlib import Path

from .errors import UserError


def prepare_directory(path: Path) -> None:
    """Make the output directory, and prove that it can be written to before hours are spent on what goes in.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"expected a writable output directory, got {path}: {error.strerror}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to a file aside, then rename it over `path`; on any failure nothing is left aside.

    Raises:
        UserError: the disk refuses.
    """
    aside = path.with_name(path.name + ".part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise UserError(f"expected to write {path}, got: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
