"""Tables of results, printed in columns."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]  # column to value; the first row names the columns


def format_cell(value: Any) -> str:
    """Format a value for a table: floats with four significant digits, None as a dash."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_table(rows: Sequence[Row]) -> str:
    """Format rows in columns, with text left-aligned and numbers right-aligned."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, *[[format_cell(row.get(name)) for name in names] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = [all(row.get(name) is None or isinstance(row.get(name), str) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    )
