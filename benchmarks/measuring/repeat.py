"""How well a measurement repeats: the ratios of several records of the same suite side by side.

    python -m benchmarks.measuring.repeat RUN1.json RUN2.json RUN3.json

Exit status 1 if any ratio to torch.nn differs by more than 10% between the records, largest over smallest.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.measuring.records import RecordError, load

ALLOWED = 0.10


def spreads(paths: list[Path]) -> dict[str, list[float]]:
    """The ratios of every peer and case that all records hold, in the order of `paths`."""
    every = [{f"{r['peer']:9} {r['key']}": r["ratio"] for r in load(path).rows if "ratio" in r} for path in paths]
    return {name: [ratios[name] for ratios in every] for name in every[0] if all(name in ratios for ratios in every)}


def main(arguments: list[str] | None = None) -> int:
    """Print the ratios, the widest last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="+")
    asked = parser.parse_args(arguments)
    try:
        found = spreads(asked.records)
    except RecordError as error:
        parser.error(str(error))
    if len(asked.records) < 2 or not found:
        parser.error(f"expected at least two records with a case in common, got {len(asked.records)}")
    ordered = sorted(found.items(), key=lambda item: max(item[1]) / min(item[1]))
    for name, ratios in ordered:
        print(f"{max(ratios) / min(ratios) - 1:6.1%}  {'  '.join(f'{ratio:.3f}' for ratio in ratios)}  {name}")
    widest = max(ordered[-1][1]) / min(ordered[-1][1]) - 1
    print(f"{len(found)} ratios over {len(asked.records)} records, the widest differs by {widest:.1%}")
    return 1 if widest > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
