"""The documentation, built once."""

import subprocess
import sys

import pytest

from tests.helpers.pages import DOCS, ROOT


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory):
    """The folder of the pages, built with warnings as errors."""
    pytest.importorskip("sphinx")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return out
