"""Published wheels, pinned by version and sha256, fetched with pip into a folder and read without being installed."""

import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PLATFORM = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--implementation", "cp"]
"""Weights are the same for every platform; pip is told one, so that the same file is fetched everywhere."""


class WheelError(Exception):
    """A wheel could not be fetched, or is not the pinned one."""


@dataclass(frozen=True)
class Wheel:
    """A file of the package registry.

    Attributes:
        package: its name, as pip takes it.
        version: its version.
        file: the name of the file.
        sha256: the hash of the file, in hexadecimal digits.
    """

    package: str
    version: str
    file: str
    sha256: str


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Return the path of `wheel` in `folder`; fetch it first if it is not there, or there with another hash.

    The file is written into a folder aside, checked and renamed: `folder` never holds a part of a file.

    Raises:
        WheelError: pip cannot fetch it, or what it fetched is not the pinned file.
    """
    path = folder / wheel.file
    if path.is_file() and _sha256(path) == wheel.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as aside:
        _download(wheel, Path(aside))
        fetched = Path(aside) / wheel.file
        if not fetched.is_file():
            names = sorted(entry.name for entry in Path(aside).glob("*.whl"))
            raise WheelError(f"expected pip to fetch {wheel.file}, got {', '.join(names) or 'no wheel'}")
        got = _sha256(fetched)
        if got != wheel.sha256:
            raise WheelError(f"expected {wheel.file} with sha256 {wheel.sha256}, got {got}")
        fetched.replace(path)
    return path


def _download(wheel: Wheel, aside: Path) -> None:
    """Let pip fetch `wheel` into `aside`; it compares the hash too, and installs or builds nothing."""
    pins = aside / "requirements.txt"
    pins.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", *PLATFORM]
    command += ["--dest", str(aside), "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        reason = errors[-1].strip() if errors else f"exit code {done.returncode}"
        raise WheelError(f"expected pip to fetch {wheel.package}=={wheel.version}, got: {reason}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
