"""The list of experiments: every script in examples/, with the first line of its docstring."""

import ast
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
OTHERS = ("__init__", "__main__", "ddp", "report")


def experiments() -> dict[str, str]:
    """Return descriptions by name, sorted by name, without importing the scripts."""
    return {path.stem: _first_line(path) for path in sorted(FOLDER.glob("*.py")) if path.stem not in OTHERS}


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
