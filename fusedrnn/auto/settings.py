"""What users set: the mode of "auto", and the seconds that it may spend on measuring in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import get_args

from fusedrnn.types import AutoMode

MODES: tuple[str, ...] = get_args(AutoMode)
BUDGET_S = 30.0
"""Seconds a process, unless set."""
MODE_VARIABLE, BUDGET_VARIABLE, FOLDER_VARIABLE = "FUSEDRNN_AUTO", "FUSEDRNN_AUTO_BUDGET", "FUSEDRNN_CACHE_DIR"

_mode: str | None = None
_budget: float | None = None
_spent = 0.0
_listeners: list[Callable[[], None]] = []


def set_auto(mode: AutoMode | None = None, *, budget: float | None = None) -> None:
    """Set how the backend "auto" decides on a GPU, for this process; None leaves a setting as it is.

    Args:
        mode: "measure" measures a call of a new kind once and remembers what is faster; "cached" uses what is remembered, never
            measures, and else takes torch's own; "off" always takes torch's own. By default FUSEDRNN_AUTO, or "measure".
        budget: seconds that this process may spend on measuring in all, those spent so far included; 0 or more. By default
            FUSEDRNN_AUTO_BUDGET, or 30.

    Raises:
        ValueError: the mode does not exist, or the budget is negative or not a number.

    Example:
        >>> import fusedrnn
        >>> fusedrnn.set_auto("cached")  # nothing is measured in this process
        >>> fusedrnn.set_auto("measure", budget=10)
    """
    global _mode, _budget
    new_mode = _mode if mode is None else _checked("mode", mode)
    new_budget = _budget if budget is None else _seconds("budget", budget)
    _mode, _budget = new_mode, new_budget
    for forget in _listeners:
        forget()


def on_change(forget: Callable[[], None]) -> None:
    """Call `forget` after every `set_auto`."""
    _listeners.append(forget)


def mode() -> str:
    """The mode. Raises ValueError if FUSEDRNN_AUTO is none."""
    return _mode if _mode is not None else _checked(MODE_VARIABLE, os.environ.get(MODE_VARIABLE) or "measure")


def budget_left() -> float:
    """Seconds that may still be spent on measuring. Raises ValueError if FUSEDRNN_AUTO_BUDGET is no number of seconds."""
    budget = _budget
    if budget is None:
        budget = _seconds(BUDGET_VARIABLE, os.environ.get(BUDGET_VARIABLE) or BUDGET_S)
    return budget - _spent


def spend(seconds: float) -> None:
    """Count seconds that were spent on measuring."""
    global _spent
    _spent += seconds


def _checked(name: str, mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"{name}: expected one of {', '.join(MODES)}, got {mode!r}")
    return mode


def _seconds(name: str, value: float | str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{name}: expected seconds, 0 or more, got {value!r}")
    return seconds
