"""The tables of docs/guide/options.md, for the tests that run their cells."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "options.md"
COLUMNS = ("resets", "zoneout", "recurrent_dropout", "heads", "layer_norm")
SAME = "–"
"""The cell of an option with itself."""


def table(section):
    """The cells of the only table of a section, by row and column."""
    _, text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")
    lines = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("|")]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert tuple(heads[1:]) == COLUMNS
    assert all(len(row) == len(heads) for row in rows)
    return {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows}


def message(cell):
    """A pattern for the start of the message that a cell quotes, or None."""
    quoted = re.fullmatch(r"(?:refused: )?`(.+)`", cell)
    return None if quoted is None else "^" + re.escape(quoted[1])
