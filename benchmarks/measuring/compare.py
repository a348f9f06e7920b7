"""Compare two records and report what became slower.

    python -m benchmarks.measuring.compare OLD.json NEW.json

What is compared is each peer's ratio to torch.nn, measured round by round beside it; where there is none, the median. A regression
is a loss above 5% that is also above the relative spreads (p20 to p80) of both measurements together. Exit status 1 if there is a
regression or a peer that worked and no longer does.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring.records import Record, RecordError, Row, load

LEAST = 0.05  # a loss that is not reported however small the spread
PLAIN = ("saved_bytes", "peak_bytes", "kernels")  # quantities without a spread: any increase above `LEAST` is reported


@dataclass(frozen=True)
class Change:
    """One peer on one case. `loss`: new time over old minus one, positive where it became slower; `allowed`: up to which."""

    name: str
    quantity: str
    loss: float
    allowed: float

    @property
    def regressed(self) -> bool:
        """Whether the loss is above what is allowed."""
        return self.loss > self.allowed

    def __str__(self) -> str:
        """One line."""
        verdict = "REGRESSION" if self.regressed else "faster" if self.loss < -self.allowed else "as before"
        return f"{verdict:10} {self.loss:+8.1%} (allowed {self.allowed:.1%}) {self.quantity} of {self.name}"


def _by_name(record: Record) -> dict[str, Row]:
    return {f"{row['peer']}{' ' + row['cache'] if 'cache' in row else ''}, {row['key']}": row for row in record.rows}


def changes(old: Record, new: Record) -> tuple[list[Change], list[str]]:
    """What both records measured, and the names of what only the old one could measure."""
    after, found, lost = _by_name(new), [], []
    for name, was in _by_name(old).items():
        now = after.get(name)
        if now is None or "error" in was:
            continue
        if "error" in now:
            lost.append(f"{name}: {now['error']}")
            continue

        def allowed(value: str, low: str, high: str, was: Row = was, now: Row = now) -> float:
            return max(LEAST, sum((row[high] - row[low]) / row[value] for row in (was, now)))

        if "ratio" in was and "ratio" in now:
            loss = was["ratio"] / now["ratio"] - 1
            found.append(Change(name, "time against torch.nn's", loss, allowed("ratio", "ratio_p20", "ratio_p80")))
        elif "median_s" in was and "median_s" in now and was["peer"] != "torch.nn":
            loss = now["median_s"] / was["median_s"] - 1
            found.append(Change(name, "time", loss, allowed("median_s", "p20_s", "p80_s")))
        for quantity in PLAIN:
            if quantity in was and quantity in now:
                found.append(Change(name, quantity, now[quantity] / max(was[quantity], 1) - 1, LEAST))
    return found, lost


def main(arguments: list[str] | None = None) -> int:
    """Print every change, regressions last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    asked = parser.parse_args(arguments)
    try:
        found, lost = changes(load(asked.old), load(asked.new))
    except RecordError as error:
        parser.error(str(error))
    if not found and not lost:
        parser.error(f"expected {asked.old} and {asked.new} to have a case in common, got none")
    for change in sorted(found, key=lambda change: (change.regressed, change.loss)):
        print(change)
    for name in lost:
        print(f"LOST       {name}")
    worse = sum(change.regressed for change in found)
    print(f"{len(found)} compared, {worse} regressions, {len(lost)} lost")
    return 1 if worse or lost else 0


if __name__ == "__main__":
    sys.exit(main())
