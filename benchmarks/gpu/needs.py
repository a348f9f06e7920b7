"""What each phase of a run needs compiled."""

from collections.abc import Callable, Iterable

from benchmarks.gpu import cases, conditions, gate, steps, tuning
from benchmarks.gpu.kernels import Kernel, distinct, of_case, of_tune
from benchmarks.gpu.micro import Micro
from benchmarks.machine_code.absent import Chip

VARIANTS = 8  # rows that are tried of each shape that is tuned


def _gate(chip: Chip) -> list[Kernel]:
    return [*(kernel for check in gate.checks(chip) for kernel in check.kernels()), *conditions.kernels()]


def _ours(chip: Chip) -> list[Kernel]:
    return [kernel for case in cases.timed(tiny=False) for kernel in of_case(case)]


def _steps(chip: Chip) -> list[Kernel]:
    return [Micro(), *(kernel for tune in steps.shapes() for kernel in steps.kernels(tune))]


def _dropout(chip: Chip) -> list[Kernel]:
    return [kernel for case in cases.of_quantity("dropout", tiny=False) for kernel in of_case(case)]


def _memory(chip: Chip) -> list[Kernel]:
    return [kernel for case in cases.of_quantity("memory", tiny=False) for kernel in of_case(case)]


def _tuning(chip: Chip) -> list[Kernel]:
    return [kernel for tune in tuning.shapes() for kernel in of_tune(tune, chip, VARIANTS)]


PHASES: dict[str, Callable[[Chip], list[Kernel]]] = {
    "gate": _gate, "ours": _ours, "steps": _steps, "dropout": _dropout, "memory": _memory, "tuning": _tuning,
}  # fmt: skip
"""In the order in which they run. The tests compile their own kernels, many at a time, for they come last."""


def kernels(phases: Iterable[str], chip: Chip, *, first: int | None = None) -> list[Kernel]:
    """One of each kernel that the phases need, in their order; `first`: no more than so many a phase."""
    return distinct((kernel for name in phases for kernel in PHASES[name](chip)[:first]), chip)
