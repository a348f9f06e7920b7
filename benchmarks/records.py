"""Records: a JSON file with the environment and one row a measured peer, written aside and renamed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]
"""Of the checkout."""
RESULTS = ROOT / "benchmarks" / "results"


class RecordError(ValueError):
    """A file that is not a record."""


def write(path: Path, text: str) -> None:
    """Replace `path` at once, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


@dataclass
class Record:
    """What one run measured, and where."""

    environment: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Replace `path` at once: a reader finds the old file or the new one, whole."""
        text = json.dumps({"environment": self.environment}, indent=1)[:-2]
        lines = ",\n".join("  " + json.dumps(row, sort_keys=False) for row in self.rows)
        write(path, f'{text},\n "rows": [\n{lines}\n ]\n}}\n')


def load(path: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: there is no such file, or it is not a record.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Record(data["environment"], data["rows"])
    except FileNotFoundError:
        raise RecordError(f"{path}: expected a record, got no file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: expected a record with environment and rows, got {error!r}") from None
