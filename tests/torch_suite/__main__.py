"""`python -m tests.torch_suite --folder PATH_TO_PYTORCH/test`: see the package's documentation."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.torch_suite.compare import Comparison, compare
from tests.torch_suite.known import KNOWN
from tests.torch_suite.running import FILES, CannotRunError, Run, files_in, run


def report(torchs: Run, ours: Run, found: Comparison) -> None:
    """Print what a file came to."""
    print(f"  {len(torchs.outcomes)} of {torchs.found} tests can reach the classes; {len(found.same)} pass with both")
    for title, run_ in (("torch's", torchs), ("ours", ours)):
        built = Counter(name for outcome in run_.outcomes.values() for name in outcome.built)
        print(
            f"  tests that build {title}: {', '.join(f'{n} {count}' for n, count in sorted(built.items())) or 'none'}"
        )
    for title, lines in (
        ("not comparable", found.not_comparable),
        ("known difference", found.known),
        ("PROBLEM", found.problems),
    ):
        for line in lines:
            print(f"  {title}: {line}")


def main(arguments: list[str] | None = None) -> int:
    """Run, compare and print. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torch_suite", description="PyTorch's own tests, on our classes."
    )
    parser.add_argument("--folder", type=Path, required=True, help="the folder `test` of a checkout of PyTorch")
    parser.add_argument("--all", action="store_true", help="every test of the files")
    args = parser.parse_args(arguments)
    options = ["--all"] if args.all else []
    problems = 0
    try:
        there = files_in(args.folder)
        for name in FILES:
            print(name if name in there else f"{name}: not in {args.folder}", flush=True)
            if name in there:
                torchs, ours = run(args.folder, name, *options), run(args.folder, name, *options, "--ours")
                found = compare(torchs.outcomes, ours.outcomes, KNOWN[name])
                report(torchs, ours, found)
                problems += len(found.problems)
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
