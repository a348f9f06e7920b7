"""Runs a file of tests in a process of its own and reads what came of it."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("test_nn.py", "nn/test_packed_sequence.py", "nn/test_dropout.py")


class CannotRunError(Exception):
    """The files are not there, or did not run to their end."""


@dataclass(frozen=True)
class Outcome:
    """What came of a test, and the names of torch.nn's classes of which it built one."""

    outcome: str
    message: str
    built: frozenset[str]


@dataclass(frozen=True)
class Run:
    """The outcomes of a file by test, and how many tests it has."""

    found: int
    outcomes: dict[str, Outcome]


def files_in(folder: Path) -> list[str]:
    """Those of `FILES` that the folder has, at least one."""
    there = [name for name in FILES if (folder / name).is_file()]
    if not there:
        got = "none of them" if folder.is_dir() else "no such folder"
        raise CannotRunError(f"--folder {folder}: expected at least one of {', '.join(FILES)}, got {got}")
    return there


def run(folder: Path, name: str, *options: str) -> Run:
    """Run the tests of a file; `options` are those of the worker."""
    with tempfile.TemporaryDirectory() as empty:
        out = Path(empty) / "outcomes.jsonl"
        command = [sys.executable, "-m", "tests.torch_suite.worker", str(folder.resolve() / name), str(out), *options]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "PYTORCH_PRINT_REPRO_ON_FAILURE": "0"}
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
        lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    title = " ".join((name, *options))
    if done.returncode or not lines:
        raise CannotRunError(f"{title}: expected exit status 0, got {done.returncode}:\n{done.stderr[-3000:]}")
    head, *rest = lines
    outcomes = {line.pop("test"): Outcome(**{**line, "built": frozenset(line["built"])}) for line in rest}
    if len(outcomes) != head["chosen"]:
        raise CannotRunError(
            f"{title}: expected {head['chosen']} outcomes, got {len(outcomes)}:\n{done.stderr[-3000:]}"
        )
    return Run(head["found"], outcomes)
