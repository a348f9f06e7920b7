"""Check replace_rnns and restore_rnns on trained models that published wheels contain.

Needs a network the first time, and onnx, onnxruntime and onnxscript, which are not among the package's dependencies.
"""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import torch

from tests.published.check import Outcome, check
from tests.published.models import MODELS
from tests.published.report import table
from tests.published.wheels import WheelError, fetch

NEEDS = ("onnx", "onnxruntime", "onnxscript")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0 if all is as expected, 1 if not or if a wheel could not be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.published", description=__doc__.partition("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder that keeps the wheels (default: in the user's cache)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="packages to check")
    options = parser.parse_args(arguments)

    missing = [package for package in NEEDS if find_spec(package) is None]
    if missing:
        print(f"expected {', '.join(NEEDS)} to be installed, got no {', '.join(missing)}")
        return 1
    folder = options.wheels or cache()
    torch.set_num_threads(1)  # the order of sums, and so the bits, must not depend on threads
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for name in options.only:
        try:
            path = fetch(MODELS[name].wheel, folder)
        except (WheelError, OSError) as error:  # the folder may not be writable
            failures.append(f"{name}: {error} (without a network, --wheels may name a folder that has the file)")
            continue
        with ZipFile(path) as archive:
            outcomes.append(check(MODELS[name], archive))
        failures += outcomes[-1].failures
    if outcomes:
        print(table(outcomes))
    print("\n".join(failures) if failures else f"{len(outcomes)} models are as they were")
    return 1 if failures else 0


def cache() -> Path:
    """The folder for wheels in the user's cache."""
    from pooch import os_cache  # here: it may not be installed on a GPU machine

    return Path(os_cache("fusedrnn")) / "wheels"
