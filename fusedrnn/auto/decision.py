"""A decision: which backend serves a kind of call, with the launch rows of the kernels and what was measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fusedrnn.operators.layer import BY_TABLE, Rows

BACKENDS = ("triton", "aten")


@dataclass(frozen=True)
class Decision:
    """The backend for a kind of call.

    Attributes:
        backend: "triton" or "aten".
        reason: why, in words.
        rows: launch configurations of the forward and the backward sweep (`operators.arguments.Sweep`), for "triton".
        ours_ms, torch_ms: median times of a call, NaN where not measured.
        error: the largest error of a result against float64, as a part of what the budget allows there.
        seconds: how long the measurement took.
    """

    backend: str
    reason: str
    rows: Rows = BY_TABLE
    ours_ms: float = math.nan
    torch_ms: float = math.nan
    error: float = math.nan
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As values of JSON; NaN is None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Any) -> Decision:
        """From `to_dict`.

        Raises:
            ValueError: it is none.
        """
        try:
            numbers = {k: math.nan if given[k] is None else float(given[k]) for k in ("ours_ms", "torch_ms", "error")}
            forward, backward = (int(row) for row in given["rows"])
            found = cls(
                given["backend"], str(given["reason"]), (forward, backward), seconds=float(given["seconds"]), **numbers
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"expected a decision, got {given!r}") from error
        if found.backend not in BACKENDS or min(found.rows) < -1:
            raise ValueError(f"expected a decision, got {given!r}")
        return found


def torchs(reason: str) -> Decision:
    """torch's own, and why."""
    return Decision("aten", reason)
