"""What a command writes: tables, a bar of progress, and messages that wait until the bar is gone."""

from __future__ import annotations

import logging
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

BAR = 24  # characters
NARROWEST = 24
"""Characters of the last column of a table at least."""


def width() -> int | None:
    """Characters of a line of standard output; None, for lines of any length, if that is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(columns: Mapping[str, str], rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Rows under the names of their columns, which are given with their alignment, "<" or ">".

    The last column is wrapped, so that lines have at most `width` characters; None: it is not.
    """
    body = [list(row) for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *body, strict=True)]
    if width is not None:
        room = width - sum(widths[:-1]) - 2 * len(widths[:-1])
        widths[-1] = min(widths[-1], max(NARROWEST, room))
    lines = []
    for cells in (list(columns), ["-" * size for size in widths], *body):
        pieces = textwrap.wrap(cells[-1], widths[-1], subsequent_indent="  ", break_on_hyphens=False) or [""]
        for number, piece in enumerate(pieces):
            shown = [*([""] * len(cells[:-1]) if number else cells[:-1]), piece]
            aligned = zip(shown, columns.values(), widths, strict=True)
            lines.append("  ".join(f"{cell:{align}{size}}" for cell, align, size in aligned).rstrip())
    return "\n".join(lines)


def show(done: int, count: int, what: object) -> None:
    """Show on standard error how far the work is: a bar on a terminal, else a line."""
    filled = BAR * done // count
    line = f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{count} {what}"
    if sys.stderr.isatty():
        clear()
        print(line[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def clear() -> None:
    """Remove the bar from a terminal."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


class _Listing(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(record.getMessage())


@contextmanager
def messages() -> Iterator[list[str]]:
    """Within the block warnings, and what the package logs as one, are not printed; after it they are in the list."""
    told: list[str] = []
    handler, logger = _Listing(told), logging.getLogger("fusedrnn")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default", UserWarning)  # also where warnings are errors
            yield told
    finally:
        logger.removeHandler(handler)
        told += [str(warning.message) for warning in caught]
