"""CONTRACT.md names tests that exist, one or more for every line."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (HERE / "CONTRACT.md").read_text().splitlines()
    if line.startswith("|") and not line.startswith(("| line |", "|---"))
]


@cache
def functions(file):
    tree = ast.parse((HERE / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_the_tests_of_a_line_exist(row):
    assert len(row) == 2, row
    names = re.findall(r"`((?:\.\./\w+/)?test_\w+\.py)::(test_\w+)`", row[1])
    assert names
    assert len(names) == row[1].count("::")
    for file, name in names:
        assert name in functions(file), f"{file} has no {name}"


def test_every_contract_test_is_in_the_table():
    named = {name for row in ROWS for name in re.findall(r"::(test_\w+)`", row[1])}
    files = [file.name for file in HERE.glob("test_contract_*.py") if file.name != Path(__file__).name]
    written = {name for file in files for name in functions(file) if name.startswith("test_")}
    assert written <= named, sorted(written - named)
