"""In which order a run measures its cases: the shapes of the goals first, one of each regime in turn, then the rest."""

from collections.abc import Iterable
from itertools import zip_longest

from benchmarks.measuring.cases import Case
from benchmarks.measuring.goals import GOALS, SHAPE, shape_of
from benchmarks.measuring.suites import SUITES, suite

TIMED = ("time", "launches", "lyrics")
"""The quantities of the phase that measures ours; dropout and memory have phases of their own."""
NOT_HERE = ("cpu", "first")
"""Suites that a run leaves out: the CPU's, and the first call of a fresh process, which exceeds the time limit of a case."""
DRY = {"layer": 2, "deep": 1, "packed": 1, "ids": 1, "launches": 1, "lyrics": 1, "dropout": 2, "memory": 1}
"""Cases a suite that a dry run takes."""
DECIDED = 3  # of the layers that a dry run lets "auto" decide for, the last one an LSTM


def in_turn(groups: Iterable[list[Case]]) -> list[Case]:
    """One of each group in turn, each case once."""
    mixed = [case for turn in zip_longest(*groups) for case in turn if case is not None]
    return list(dict.fromkeys(mixed))


def every(*, tiny: bool) -> list[Case]:
    """All suites' cases, the goals' first; `tiny`: a few, of a few units."""
    if tiny:
        return in_turn(suite(name, tiny=True)[:count] for name, count in DRY.items())
    return list(dict.fromkeys([*of_goals(), *in_turn(_suites())]))


def _suites() -> list[list[Case]]:
    return [suite(name) for name in SUITES if name not in NOT_HERE]


def of_goals() -> list[Case]:
    """The cases of the goals' shapes, one of each regime in turn."""
    regimes = [{shape_of(layer) for layer in goal.layers} for goal in GOALS]
    timed = [case for cases in _suites() for case in cases if case.quantity == "time"]
    shapes = {case: _shape(case) for case in timed}
    return in_turn([case for case, shape in shapes.items() if shape in regime] for regime in regimes)


def _shape(case: Case) -> tuple[object, ...]:
    return tuple(getattr(case, name) for name in SHAPE)


def decided(*, tiny: bool) -> list[Case]:
    """Calls for which the backend "auto" decides: of each shape of a goal one, forward and for training."""
    first: dict[object, Case] = {}
    for case in suite("layer", tiny=True)[:DECIDED] if tiny else of_goals():
        first.setdefault((_shape(case), case.passes), case)
    return list(first.values())


def timed(*, tiny: bool) -> list[Case]:
    """What is measured beside torch.nn."""
    return [case for case in every(tiny=tiny) if case.quantity in TIMED]


def baselines(*, tiny: bool) -> list[Case]:
    """What is measured of torch.nn alone."""
    return [case for case in every(tiny=tiny) if case.quantity == "time" and case.cell != "gru_before"]


def profiled(wanted: list[Case]) -> list[Case]:
    """The cases whose kernels are named: one of each kind that may take another of cuDNN's algorithms, backward included."""
    first: dict[tuple[object, ...], Case] = {}
    for case in (case for case in wanted if case.passes == "training"):
        persists = (
            case.dtype == "fp16" and case.B % 8 == 0 and case.B <= 128
        )  # if anything does: fusedrnn.backends.cudnn.path
        first.setdefault((case.cell, case.dtype, case.H, case.L, case.D, case.input, persists), case)
    return list(first.values())


def of_quantity(quantity: str, *, tiny: bool) -> list[Case]:
    """The cases of one quantity."""
    return [case for case in every(tiny=tiny) if case.quantity == quantity]
