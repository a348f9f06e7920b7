"""Compares the outcomes of two runs with each other and with the list of known differences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.torch_suite.known import Known
from tests.torch_suite.running import Outcome


@dataclass
class Comparison:
    """The tests of a file, sorted by what is to be said of them."""

    same: list[str] = field(default_factory=list)
    not_comparable: list[str] = field(default_factory=list)
    """Tests that do not pass with torch's own classes, nor with ours."""
    known: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def compare(torchs: Mapping[str, Outcome], ours: Mapping[str, Outcome], known: Mapping[str, Known]) -> Comparison:
    """Sort the tests of a file. Entries of `known` whose test was not run are left alone."""
    found = Comparison()
    if torchs.keys() != ours.keys():
        found.problems.append(
            f"expected the same tests, got other ones: {', '.join(sorted(torchs.keys() ^ ours.keys()))}"
        )
    for test in sorted(torchs.keys() & ours.keys()):
        difference, entry = _difference(torchs[test], ours[test]), known.get(test)
        if entry and not difference:
            found.problems.append(f"{test}: listed in known.py, expected a difference, got none ({ours[test].outcome})")
        elif entry and entry.message in difference:
            found.known.append(f"{test}: {entry.reason}")
        elif entry:
            found.problems.append(f"{test}: expected {entry.message!r} as listed in known.py, got {difference}")
        elif difference:
            found.problems.append(f"{test}: not listed in known.py: {difference}")
        elif torchs[test].outcome == "passed":
            found.same.append(test)
        else:
            found.not_comparable.append(
                f"{test}: {torchs[test].outcome} with both: {_first_line(torchs[test].message)}"
            )
    if not found.same and not found.problems:
        found.problems.append("expected a test that passes with both, got none")
    return found


def _difference(torchs: Outcome, ours: Outcome) -> str:
    """What differs, in words; empty if nothing does."""
    if torchs.outcome != ours.outcome:
        return f"{torchs.outcome} with torch's, {ours.outcome} with ours: {ours.message or torchs.message}"
    if torchs.outcome == "passed" and torchs.built != ours.built:
        lists = [", ".join(sorted(names)) or "nothing" for names in (torchs.built, ours.built)]
        return f"passed with both, but built {lists[0]} of torch's and {lists[1]} of ours"
    return ""


def _first_line(message: str) -> str:
    return message.partition("\n")[0]
