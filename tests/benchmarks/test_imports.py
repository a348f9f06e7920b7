"""No module of benchmarks imports itself through others, and each of its three parts imports only those before it."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def graph(root):
    """By module of benchmarks: those that it imports, in functions and under TYPE_CHECKING too."""
    paths = {".".join(path.relative_to(root).with_suffix("").parts): path for path in root.glob("benchmarks/**/*.py")}
    return {name: set(imports(path)) & set(paths) for name, path in paths.items()}


def imports(path):
    """Every name that a file imports, of modules and of what is in them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: expected absolute imports, got a relative one"
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_no_module_imports_itself_through_others():
    found = graph(ROOT)
    assert len(found) > 20
    assert any(found.values())
    TopologicalSorter(found).prepare()


def test_each_part_imports_only_those_before_it():
    parts = ("measuring", "machine_code", "gpu")
    for name, wanted in graph(ROOT).items():
        part = name.split(".")[1] if name != "benchmarks" else ""
        if part in parts:
            allowed = parts[: parts.index(part) + 1]
            assert {other.split(".")[1] for other in wanted} <= set(allowed), name


@pytest.mark.parametrize("line", ["from benchmarks import a", "def f():\n    import benchmarks.a"])
def test_a_circle_is_found(tmp_path, line):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "a.py").write_text("from benchmarks.b import something\n")
    (tmp_path / "benchmarks" / "b.py").write_text(line + "\n")
    with pytest.raises(CycleError, match="nodes are in a cycle"):
        TopologicalSorter(graph(tmp_path)).prepare()
