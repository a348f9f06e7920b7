"""Records: a JSON file with the environment and one row a measured peer, written aside and renamed."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]  # of the checkout
RESULTS = ROOT / "benchmarks" / "results"
DECISIONS = "decisions"  # a folder beside records, with the files of the backend "auto"


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
    _dumped: list[tuple[Row, str]] = field(default_factory=list, init=False, repr=False, compare=False)

    def save(self, path: Path) -> None:
        """Replace `path` at once: a reader finds the old file or the new one, whole."""
        text = json.dumps({"environment": self.environment}, indent=1)[:-2]
        lines = [self._line(place, row) for place, row in enumerate(self.rows)]
        self._dumped = list(zip(map(dict, self.rows), lines, strict=True))
        joined = ",\n".join(lines)
        write(path, f'{text},\n "rows": [\n{joined}\n ]\n}}\n')

    def _line(self, place: int, row: Row) -> str:
        """A row as text, that of the last `save` if the row is the same: a run saves its record after every case."""
        if place < len(self._dumped) and self._dumped[place][0] == row:
            return self._dumped[place][1]
        return "  " + json.dumps(row)


def load(path: Path) -> Record:
    """Read a record. Raises RecordError if there is no such file, or it is not a record."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Record(data["environment"], data["rows"])
    except FileNotFoundError:
        raise RecordError(f"{path}: expected a record, got no file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: expected a record with environment and rows, got {error!r}") from None
