"""What each phase of a run needs compiled."""

from collections.abc import Callable, Iterable
from itertools import chain, islice

from benchmarks.gpu import cases, conditions, decisions, gate, options, steps, tuning
from benchmarks.gpu.kernels import Kernel, distinct, of_case, of_kind, of_option, of_sweep, of_tune
from benchmarks.gpu.micro import Micro
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.cases import Case

VARIANTS = 8  # rows that are tried of each shape that is tuned


PHASES: dict[str, Callable[[Chip], Iterable[Kernel]]] = {
    "gate": lambda chip: chain(*(check.kernels() for check in gate.checks(chip)), conditions.kernels()),
    "ours": lambda chip: _of_cases(cases.timed(tiny=False)),
    "auto": lambda chip: chain(*(of_kind(decisions.kind_of(case), chip) for case in cases.decided(tiny=False))),
    "steps": lambda chip: chain([Micro()], *map(of_sweep, steps.shapes())),
    "dropout": lambda chip: _of_cases(cases.of_quantity("dropout", tiny=False)),
    "memory": lambda chip: _of_cases(cases.of_quantity("memory", tiny=False)),
    "tuning": lambda chip: chain(*(of_tune(tune, chip, VARIANTS) for tune in tuning.shapes())),
    "options": lambda chip: chain(*map(of_option, options.every())),
}
"""In the order in which they run. The tests compile their own kernels, many at a time, as they run last."""


def _of_cases(wanted: list[Case]) -> Iterable[Kernel]:
    return chain(*map(of_case, wanted))


def kernels(phases: Iterable[str], chip: Chip, *, first: int | None = None) -> list[Kernel]:
    """One of each kernel that the phases need, in their order; `first`: no more than so many a phase."""
    return distinct((kernel for name in phases for kernel in islice(PHASES[name](chip), first)), chip)
