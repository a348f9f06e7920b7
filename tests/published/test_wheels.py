"""Fetching pinned wheels, without a network: pip reads from a folder of files that the tests make."""

import hashlib
import os
import sys
import zipfile

import pytest

from tests.published.wheels import Wheel, WheelError, fetch

FILE = "tiny-1.0-py3-none-any.whl"
ZEROS = "0" * 64


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that pip takes for the registry, with one wheel in it."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def wheel(registry):
    return Wheel("tiny", "1.0", FILE, hashlib.sha256((registry / FILE).read_bytes()).hexdigest())


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_wheel_is_fetched_once(wheel, cache, registry, monkeypatch):
    path = fetch(wheel, cache)
    assert path.read_bytes() == (registry / FILE).read_bytes()
    assert names(cache) == [FILE]
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # a second call to pip would fail
    assert fetch(wheel, cache) == path


def test_another_file_in_the_cache_is_replaced(wheel, cache):
    cache.mkdir()
    (cache / FILE).write_bytes(b"half a fi")
    assert hashlib.sha256(fetch(wheel, cache).read_bytes()).hexdigest() == wheel.sha256


def test_a_wheel_with_another_hash_is_refused(cache, registry):
    with pytest.raises(WheelError, match=r"expected pip to fetch tiny==1\.0, got: ERROR: .*DO NOT MATCH THE HASHES"):
        fetch(Wheel("tiny", "1.0", FILE, ZEROS), cache)
    assert names(cache) == []


def test_the_hash_is_compared_also_if_pip_does_not(cache, registry, monkeypatch):
    monkeypatch.setattr("tests.published.wheels._download", lambda wheel, aside: (aside / FILE).write_bytes(b"other"))
    got = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WheelError, match=f"expected {FILE} with sha256 {ZEROS}, got {got}"):
        fetch(Wheel("tiny", "1.0", FILE, ZEROS), cache)
    assert names(cache) == []


def test_a_wheel_of_another_name_is_refused(wheel, cache):
    renamed = Wheel(wheel.package, wheel.version, "tiny-1.0-cp311-none-any.whl", wheel.sha256)
    with pytest.raises(WheelError, match=f"expected pip to fetch {renamed.file}, got {FILE}"):
        fetch(renamed, cache)
    assert names(cache) == []


def test_a_wheel_that_is_not_there(wheel, cache, registry):
    (registry / FILE).unlink()
    with pytest.raises(WheelError, match=r"expected pip to fetch tiny==1\.0, got: ERROR: No matching distribution"):
        fetch(wheel, cache)
    assert names(cache) == []
