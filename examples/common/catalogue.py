"""The list of the scripts in examples/, with the first line of each docstring."""

import ast
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
OTHERS = ("__init__", "__main__", "report")
NO_RESULTS = ("ddp",)  # scripts that are no experiments: they write no metrics.json


def scripts() -> dict[str, str]:
    """Return descriptions by name, sorted by name, without importing the scripts."""
    return {path.stem: _first_line(path) for path in sorted(FOLDER.glob("*.py")) if path.stem not in OTHERS}


def experiments() -> dict[str, str]:
    """Return those of `scripts` that write results."""
    return {name: description for name, description in scripts().items() if name not in NO_RESULTS}


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
