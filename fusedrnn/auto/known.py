"""What this process knows: decisions of calls by their exact sizes and by kind, and what the kernels compute wrongly."""

from __future__ import annotations

from fusedrnn.auto import settings
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.kind import Exact, Kind
from fusedrnn.auto.machine import Machine

MOST_EXACT = 1 << 14
"""Calls that are remembered by their exact sizes."""

by_exact: dict[Exact, Decision] = {}
by_kind: dict[tuple[Machine, Kind], Decision] = {}
retired: dict[tuple[Machine, Kind], Decision] = {}
"""Decisions that no longer hold, for recomputations of calls that were made while they did."""
wrong: dict[Machine, dict[str, str]] = {}
"""By machine and the name of a kind, in words."""
generation = 0
"""Rises when decisions are retired: what was found out before must not be added after."""


def retire() -> None:
    """Let no decision hold any more: a setting has changed, or the kernels were found wrong."""
    global generation
    generation += 1
    retired.update(by_kind)
    by_exact.clear()
    by_kind.clear()


def forget() -> None:
    """Know nothing, as a new process; files are left as they are."""
    retire()
    retired.clear()
    wrong.clear()


def add(machine: Machine, kind: Kind, decision: Decision, since: int) -> None:
    """Remember a decision that was found out in generation `since`."""
    if since == generation:
        by_kind[machine, kind] = decision


def add_exact(key: Exact, decision: Decision, since: int) -> None:
    """Remember the decision of a call, likewise."""
    if len(by_exact) >= MOST_EXACT:
        by_exact.clear()
    if since == generation:
        by_exact[key] = decision


settings.on_change(retire)
