"""The package as users install it: a source distribution, the wheel built from it, and a folder with that wheel's files."""

import shutil

import pytest
from wheels import FOLDERS, ROOT, run


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder with a source distribution and the wheel that was built from it."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    run("-m", "build", "--no-isolation", "--outdir", str(dist), str(source), cwd=dist)
    return dist


@pytest.fixture(scope="session")
def wheel(built):
    """The path of the wheel."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in, for PYTHONPATH."""
    target = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=target)
    return target
