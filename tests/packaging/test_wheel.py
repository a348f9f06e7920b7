"""What users install: the files of the wheel, the names it brings and the version it states."""

import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from wheels import FOLDERS, ROOT, run

import fusedrnn
from tests.helpers.pages import blocks

SYMLINKS = {"kernels", "reference"}  # inside fusedrnn/


def source_files():
    """Every module of the package, by the path it must have in the wheel."""
    for folder, installed in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            relative = path.relative_to(ROOT / folder)
            if relative.parts[0] not in SYMLINKS:
                yield f"{installed}/{relative.as_posix()}"


def python_elsewhere(installed, tmp_path, program):
    """Run a program that finds the wheel's files first, from a folder that holds nothing."""
    return run("-c", program, cwd=tmp_path, PYTHONPATH=str(installed)).strip()


def test_wheel_holds_every_module_once(wheel):
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")]
    assert sorted(names) == sorted(source_files())


def test_wheel_brings_only_one_top_level_name(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"fusedrnn", f"fusedrnn-{fusedrnn.__version__}.dist-info"}


def test_wheel_says_that_it_is_typed_and_carries_its_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "fusedrnn/py.typed" in names
    assert f"fusedrnn-{fusedrnn.__version__}.dist-info/licenses/LICENSE" in names


def test_source_distribution_holds_every_module(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {re.sub("^fusedrnn/(?=(kernels|reference)/)", "", name) for name in source_files()} <= names


def test_version_is_the_same_everywhere(wheel, installed, tmp_path):
    metadata = zipfile.ZipFile(wheel).read(f"fusedrnn-{fusedrnn.__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {fusedrnn.__version__}\n" in metadata
    program = "import fusedrnn, importlib.metadata as m; print(fusedrnn.__version__, m.version('fusedrnn'))"
    assert python_elsewhere(installed, tmp_path, program) == f"{fusedrnn.__version__} {fusedrnn.__version__}"


def test_changelog_has_an_entry_for_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(fusedrnn.__version__)}\]", changelog, re.MULTILINE)


def test_installed_package_and_its_reference_import_without_triton(installed, tmp_path):
    program = "\n".join(
        [
            "import sys",
            "sys.modules['triton'] = None",
            "import fusedrnn, fusedrnn.reference.sweep",
            "print(fusedrnn.reference.sweep.__file__)",
        ]
    )
    assert Path(python_elsewhere(installed, tmp_path, program)) == installed / "fusedrnn/reference/sweep.py"


@pytest.mark.parametrize("name", ["kernels", "reference", "examples", "tests", "benchmarks"])
def test_folders_of_the_repository_cannot_be_imported(installed, tmp_path, name):
    """Packages of these names may come from others: opacus installs examples and benchmarks."""
    program = f"import importlib.util as u, fusedrnn; print(*getattr(u.find_spec({name!r}), 'submodule_search_locations', []))"
    found = python_elsewhere(installed, tmp_path, program)
    assert str(installed) not in found
    assert str(ROOT / name) not in found


def test_kernels_are_found_inside_the_package(installed, tmp_path):
    program = "import importlib.util as u; print(u.find_spec('fusedrnn.kernels').origin)"
    assert Path(python_elsewhere(installed, tmp_path, program)) == installed / "fusedrnn/kernels/__init__.py"


def test_the_quick_start_of_the_readme_runs_from_the_wheel(installed, tmp_path):
    ((_, code),) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    lines = [line for line in code.splitlines() if line and "torch.compile" not in line and "compiled(" not in line]
    assert 10 < len(lines) <= 20
    found = python_elsewhere(
        installed, tmp_path, "\n".join([*lines, "print(lstm.__class__.__module__, tuple(h_n.shape))"])
    )
    assert found == "fusedrnn.modules.lstm (1, 32, 128)"


def test_the_metadata_has_links_a_description_and_keywords(wheel):
    metadata = zipfile.ZipFile(wheel).read(f"fusedrnn-{fusedrnn.__version__}.dist-info/METADATA").decode()
    head, _, description = metadata.partition("\n\n")
    for name in ("Homepage", "Documentation", "Changelog", "Issues"):
        assert f"\nProject-URL: {name}, https://" in head
    assert "\nKeywords: pytorch" in head
    assert "\nAuthor: The fusedrnn authors" in head
    assert "\nDescription-Content-Type: text/markdown" in head
    assert description.startswith("# fusedrnn")


def test_the_citation_has_the_version():
    assert f"\nversion: {fusedrnn.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
