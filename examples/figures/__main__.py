"""Draw the figures of experiments again from their results, without running them.

    python -m examples.figures examples/results --out docs/figures          # the pictures of the documentation
    python -m examples.figures out/report --out out/pictures                # those of earlier runs
    python -m examples.figures out/cells --keep examples/results --out docs/figures     # renew those of one experiment

The results are metrics.json files: an experiment's output folder, a folder of such folders, or one of NAME.json files. Each
figure is written as NAME-FIGURE.png. With --keep the results are also written as NAME.json, with numbers rounded to five digits,
and the figures show these.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.common.catalogue import experiments
from examples.common.errors import UserError
from examples.common.files import prepare_directory
from examples.common.parser import HelpFormatter, Parser
from examples.common.program import program

DIGITS = 5
LOCAL = ("out", "checkpoint")  # settings that say where a run wrote, not what it found


@program("examples.figures")
def main(arguments: Sequence[str] | None = None) -> None:
    """Read every record and write its figures, and with --keep the record itself."""
    parser = Parser(
        prog="python -m examples.figures", description=(__doc__ or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False
    )  # fmt: skip
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder with results")
    parser.add_argument("--out", type=Path, default=Path("out/figures"), metavar="DIR", help="folder for the figures")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for the rounded results")
    options = parser.parse_args(arguments)
    from examples.common.figures import save_figure  # after the command line is read: matplotlib takes a second
    from examples.common.metrics import write_json
    from examples.figures import drawing

    for folder in (options.out, options.keep):
        if folder:
            prepare_directory(folder)
    for record in records(options.results):
        name = record["experiment"]
        if options.keep:
            record = rounded({**record, "settings": {k: v for k, v in record["settings"].items() if k not in LOCAL}})
            write_json(options.keep / f"{name}.json", record)
        try:
            figures = drawing(name)(record)
        except KeyError as error:
            raise UserError(f"expected {error} among the results of {name}, got those of another version") from error
        for file, figure in figures.items():
            path = options.out / f"{name}-{file}"
            save_figure(path, figure)
            print(path)


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the results in a folder.

    Raises:
        UserError: there are none, or a file holds something else.
    """
    paths = sorted([*folder.glob("*.json"), *folder.glob("*/metrics.json")])
    if not paths:
        raise UserError(f"expected a folder with metrics.json or NAME.json files, got {folder}")
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"expected results of an experiment, got {path}: {error}") from error
        if not isinstance(record, dict) or record.get("experiment") not in experiments():
            raise UserError(f"expected results of an experiment, got {path} without the name of one")
        yield record


def rounded(value: Any) -> Any:
    """Return the record with five significant digits of every number."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
