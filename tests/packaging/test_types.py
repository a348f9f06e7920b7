"""What type checkers tell a user: nothing about a right program, and every mistake of a wrong one, on its line."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from fusedrnn import types
from fusedrnn.auto import settings
from fusedrnn.backends.rules import AUTO, NAMES
from fusedrnn.modules import rnn

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "typed_user.py", HERE / "typed_mistakes.py"
MISTAKES = [k for k, line in enumerate(WRONG.read_text(encoding="utf-8").splitlines(), 1) if line.endswith("# mistake")]


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_every_mistake_is_reported_and_nothing_else(checker, installed, tmp_path, request):
    """Strictly, for a user of the installed wheel: without `py.typed` in it mypy would have no types of it."""
    pytest.importorskip(checker)
    for path in (RIGHT, WRONG):
        shutil.copy(path, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    command = [sys.executable, "-m", checker, RIGHT.name, WRONG.name]
    if checker == "mypy":
        command += ["--strict", "--config-file=", f"--cache-dir={request.config.cache.mkdir('mypy')}"]
    else:
        command += ["--pythonpath", sys.executable]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    said = re.findall(r"(\w+\.py):(\d+)(?:: error:|:\d+ - error:)", done.stdout)
    assert {line for name, line in said if name == RIGHT.name} == set(), done.stdout
    assert sorted({int(line) for name, line in said if name == WRONG.name}) == MISTAKES, done.stdout


def test_the_program_that_has_the_right_types_runs(monkeypatch):
    monkeypatch.setattr(settings, "_mode", None)  # which the program sets
    monkeypatch.setattr(settings, "_budget", None)
    runpy.run_path(str(RIGHT), run_name="__main__")


def test_the_names_in_the_types_are_those_that_are_known():
    assert set(get_args(types.Backend)) == {AUTO, *NAMES}
    assert get_args(types.AutoMode) == settings.MODES


@pytest.mark.parametrize("name", ["FusedGRU", "FusedLSTM", "FusedRNN"])
def test_modules_of_earlier_versions_are_found_where_they_were_pickled(name):
    assert getattr(rnn, name).__name__ == name
