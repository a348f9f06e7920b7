"""The output of an experiment: a table, a conclusion, figures and metrics.json."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.figures import Draw, drawing

from .figures import save_figure
from .files import prepare_directory
from .metrics import plain, versions, write_json
from .tables import Row, format_table


@dataclass(frozen=True)
class Data:
    """The origin of the data: `source` in words; `is_fallback` if it replaces the real data."""

    source: str
    is_fallback: bool = False

    def announce(self) -> None:
        """Print the origin of the data, highlighted if it is fallback data."""
        if self.is_fallback:
            print("!" * 100)
            print(f"FALLBACK DATA, not the published experiment: {self.source}")
            print("!" * 100)
        else:
            print(f"data: {self.source}")


def write_results(out: Path, record: dict[str, Any], draw: Draw) -> list[str]:
    """Write the figures that `draw` makes of the record, then metrics.json with their names, which are returned.

    Raises:
        UserError: a file cannot be written.
    """
    record = plain(record)
    figures = draw(record)
    for file, figure in figures.items():
        save_figure(out / file, figure)
    write_json(out / "metrics.json", {**record, "figures": list(figures)})
    return list(figures)


class Experiment:
    """One run of an experiment, from its options to its output files."""

    def __init__(self, name: str, options: argparse.Namespace, data: Data) -> None:
        """Create the output folder, print the origin of the data and start the timer.

        Raises:
            UserError: the folder cannot be created or is not writable.
        """
        prepare_directory(options.out)
        self.draw = drawing(name)
        self.name, self.options, self.data = name, options, data
        self.start = time.perf_counter()
        data.announce()

    def finish(
        self,
        *,
        results: dict[str, Any],
        table: Sequence[Row],
        conclusion: str,
        packages: Sequence[str] = (),
    ) -> None:
        """Print the table and the conclusion; write metrics.json, and the figures that are drawn from it.

        Args:
            results: the measured numbers, with all that the figures show.
            table: the rows to print, all with the same columns.
            conclusion: one paragraph, formatted from the measured numbers.
            packages: further packages whose versions are recorded.

        Raises:
            UserError: a file cannot be written.
        """
        out = self.options.out
        record = {
            "experiment": self.name,
            "settings": vars(self.options),
            "versions": versions(*packages),
            "data": self.data.source,
            "data_is_fallback": self.data.is_fallback,
            "seconds": round(time.perf_counter() - self.start, 3),
            "results": results,
            "table": list(table),
            "conclusion": conclusion,
        }
        figures = write_results(out, record, self.draw)
        print(f"{format_table(table)}\n\n{conclusion}")
        if self.data.is_fallback:
            print("(These numbers come from FALLBACK data.)")
        print(f"files: {', '.join(str(out / file) for file in [*figures, 'metrics.json'])}")
