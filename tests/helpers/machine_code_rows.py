"""Rows that a module of `benchmarks.machine_code` writes, in a process where kernels are compiled, not interpreted."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def compiled(module, tmp_path, *arguments):
    """Run the module; its rows."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    path = tmp_path / "rows.json"
    run = subprocess.run(
        [sys.executable, "-m", module, "--json", str(path), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    print(run.stdout)
    assert run.returncode == 0, run.stderr
    return json.loads(path.read_text())
