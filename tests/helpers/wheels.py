"""Building and installing the package as users get it, in folders of a test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"fusedrnn": "fusedrnn", "kernels": "fusedrnn/kernels", "reference": "fusedrnn/reference"}


def run(*command, cwd, **environment):
    """The output of Python with the arguments `command`, which has to succeed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment or None, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
