"""Runs the tests of one file in this process and writes a line of JSON for each: `python -m tests.torch_suite.worker`."""

import argparse
import importlib.util
import json
import sys
import unittest
from pathlib import Path
from typing import Any

import torch

from tests.torch_suite import classes, selection


def imported(path: Path) -> Any:
    """The file as a module of its own name, with its folder where its imports look first, as when it is run."""
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]  # torch's test classes look at it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # what a test pickles is found there
    spec.loader.exec_module(module)
    return module


def outcome_of(test: unittest.TestCase) -> dict[str, str]:
    """Run a test, with what its class sets up, and say what came of it."""
    result = unittest.TestResult()
    unittest.TestSuite([test]).run(result)
    for outcome, found in (
        ("failed", result.errors + result.failures),
        ("skipped", result.skipped),
        ("failed as expected", result.expectedFailures),
        ("passed unexpectedly", [(test, "") for test in result.unexpectedSuccesses]),
    ):
        if found:
            return {"outcome": outcome, "message": found[0][1].rpartition("\n  File ")[2].strip()}
    return {"outcome": "passed" if result.testsRun == 1 else f"ran {result.testsRun} times", "message": ""}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ours:
        classes.replace()
    built: set[str] = set()
    classes.record(built.add)
    tests = selection.tests_of(imported(args.file))
    chosen = [test for test in tests if args.all or selection.is_relevant(test)]
    with args.out.open("w") as out:
        print(json.dumps({"found": len(tests), "chosen": len(chosen)}), file=out, flush=True)
        for test in chosen:
            name = "::".join(test.id().split(".")[-2:])
            built.clear()
            outcome = outcome_of(test)
            print(json.dumps({"test": name, **outcome, "built": sorted(built)}), file=out, flush=True)


if __name__ == "__main__":
    main()
