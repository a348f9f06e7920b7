"""Run every experiment and collect tables, conclusions and figures on one page.

    python -m examples.report --out out/report              # everything, with its defaults: `make examples`
    python -m examples.report --quick polynomial dropout_mlp    # two of them, in seconds

Each experiment runs in a separate process and writes its files to DIR/NAME; the page is DIR/report.md. If one fails, the page
says so, the others still run, and the exit code is 1.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from examples.common.catalogue import FOLDER, experiments
from examples.common.errors import UserError
from examples.common.files import prepare_directory, write_whole
from examples.common.parser import HelpFormatter, Parser
from examples.common.program import program
from examples.common.tables import Row, format_cell

NEEDED = ("settings", "versions", "data", "data_is_fallback", "seconds", "table", "figures", "conclusion")


@program("report.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiments, read their results and write the page."""
    options = parse(arguments)
    prepare_directory(options.out)
    start = time.perf_counter()
    sections = {}
    for name in options.names:
        command = [sys.executable, f"{FOLDER.name}/{name}.py", "--out", str((options.out / name).resolve())]
        print(f"\n=== {name} ===", flush=True)
        code = subprocess.run(command + ["--quick"] * options.quick, cwd=FOLDER.parent, check=False).returncode
        if code == 130:
            raise KeyboardInterrupt
        sections[name] = section(name, options.out / name, code)
    head = f"# Experiments\n\n{len(sections)} experiments{', --quick' if options.quick else ''}, "
    head += f"{time.perf_counter() - start:.0f} s, {time.strftime('%Y-%m-%d %H:%M')}.\n"
    page = options.out / "report.md"
    write_whole(page, "\n".join([head, *(text for text, _ in sections.values())]).encode())
    failed = [name for name, (_, well) in sections.items() if not well]
    print(f"\nreport: {page}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; without names, all experiments are run."""
    catalogue = list(experiments())
    parser = Parser(description=(__doc__ or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(catalogue)}; default: all")
    parser.add_argument("--out", type=Path, default=Path("out/report"), metavar="DIR", help="output folder")
    parser.add_argument("--quick", action="store_true", help="run the small version of each, in seconds")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in catalogue:
            raise UserError(f"expected names of {', '.join(catalogue)}, got {name}")
    options.names = options.names or catalogue
    return options


def section(name: str, folder: Path, code: int) -> tuple[str, bool]:
    """Format an experiment's part of the page from its metrics.json; return it, and whether the run succeeded."""
    title = f"## {name}\n\n{experiments()[name]}\n\n"
    if code:
        return f"{title}**It failed with exit code {code}.**\n", False
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if missing := [key for key in NEEDED if key not in metrics]:
        return f"{title}**Its metrics.json lacks {', '.join(missing)}.**\n", False
    data = metrics["data"] if not metrics["data_is_fallback"] else f"**FALLBACK DATA: {metrics['data']}**"
    settings = " ".join(f"{key}={value}" for key, value in metrics["settings"].items() if key != "out")
    versions = " ".join(f"{package}={version}" for package, version in metrics["versions"].items())
    figures = [f"![{name}: {file}]({name}/{file})" for file in metrics["figures"]]
    parts = [
        f"Data: {data}",
        metrics["conclusion"],
        markdown(metrics["table"]),
        *figures,
        f"`{settings}`, {metrics['seconds']:.0f} s, `{versions}`",
    ]
    return title + "\n\n".join(parts) + "\n", True


def markdown(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *[[format_cell(row.get(name)) for name in names] for row in rows]]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
