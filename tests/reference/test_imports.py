"""The reference is plain PyTorch: it imports torch and nothing else, and runs where triton does not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "reference"
FILES = sorted(REFERENCE.glob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_only_torch_the_standard_library_and_itself(path):
    for name in imported(path):
        if name.startswith("."):
            assert (REFERENCE / f"{name.removeprefix('.')}.py") in FILES
        else:
            assert name.split(".")[0] in {"torch", *sys.stdlib_module_names}


def test_imports_and_runs_without_triton():
    program = "\n".join(
        [
            "import sys",
            "sys.modules['triton'] = None",
            *(f"import fusedrnn.reference.{path.stem}" for path in FILES if path.stem != "__init__"),
            "import torch",
            "from fusedrnn.reference.sweep import gru_sweep",
            "output, _ = gru_sweep(torch.ones(5, 3, 2, 21), torch.zeros(2, 3, 7), torch.ones(2, 21, 7))",
            "print(tuple(output.shape))",
        ]
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=REFERENCE.parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "(5, 3, 2, 7)\n"
