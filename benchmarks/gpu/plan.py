"""What a run would do, phase by phase, and how long that should take.

Kernels are counted; each takes what it took when the committed record of compilations was made. Device time is the floor model's:
cuDNN's steps as slow as FlashRNN's alternating kernels, ours at twice the floor. The constants are estimates.
"""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.gpu import cases, conditions, gate, jobs, micro, needs, options, steps, tuning
from benchmarks.gpu.phases import PHASES
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.cases import DTYPES, Case
from benchmarks.measuring.goals import GOALS, ours_s, theirs_s
from benchmarks.measuring.records import RESULTS, RecordError, load
from fusedrnn.auto import check, clock, trial
from fusedrnn.backends.chips import CHIPS
from fusedrnn.backends.cudnn import Layer

CHIP = Chip((9, 0), CHIPS[9, 0].multiprocessors)
CORES = 16  # of the machine that is planned for
PROFILE_S = 0.4  # to name the kernels of a call. Estimate.
PREDICT_S = 0.6  # to disassemble a kernel and predict its step, as on the machine of the notes
START_S = 8.0  # a process that imports torch and makes its context on the GPU. Estimate.
CASE_S = 0.05  # of the host, a case: modules are built and results compared. Estimate.
OVER_FLOOR = 2.0  # ours over the floor, as far as a plan needs it
RECORD = RESULTS / "compile.json"


@dataclass(frozen=True)
class Estimate:
    """Of a phase: what it has to do, the kernels that it launches, and the seconds that all of it would take, None for any."""

    what: str
    kernels: int
    seconds: float | None


def compile_seconds() -> float:
    """Seconds of one core that a kernel takes to compile, by the committed record."""
    rows = [row for row in load(RECORD).rows if row.get("new") == 1]
    if not rows:
        raise RecordError(f"{RECORD}: expected kernels that were compiled, got none")
    return float(sum(row["seconds"] for row in rows) / len(rows))


def _kernels(*phases: str) -> int:
    return len(needs.kernels(phases, CHIP))


def _compile() -> Estimate:
    kernels, each = _kernels(*needs.PHASES), compile_seconds()
    return Estimate(f"{kernels} kernels x {each:.2f} s / {CORES} cores", kernels, START_S + kernels * each / CORES)


def _gate() -> Estimate:
    checks = gate.checks(CHIP)
    calls = sum(1 + (0 if check.lengths else gate.REPEATS) for check in checks)
    loop_s = 2 * gate.STEPS * 30 * 10e-6  # the reference's loop: some 30 operators a step, forward and backward
    seconds = START_S + len(checks) * (CASE_S + 3 * loop_s) + calls * 2 * gate.STEPS * 20e-6
    what = f"{len(checks)} checks, {calls} training steps of ours, {len(conditions.CONDITIONS)} conditions"
    return Estimate(what, _kernels("gate"), seconds)


def _cases(wanted: list[Case], kernels: int, *, both: bool) -> Estimate:
    """torch.nn alone, or with ours beside it."""

    def seconds(some: list[Case]) -> float:
        total = 0.0
        for case in some:
            theirs = theirs_s(case.layer, case.sweeps)
            mine = OVER_FLOOR * ours_s(case.layer, case.sweeps) if both else 0.0
            total += CASE_S + (jobs.rounds_for(theirs) + 3) * (theirs + mine)
        return total

    goals = [case for case in cases.of_goals() if case in wanted]
    what = f"{len(wanted)} cases, first the {len(goals)} of the goals' shapes in {seconds(goals):.0f} s"
    return Estimate(what, kernels, seconds(wanted))


def _auto() -> Estimate:
    """Both sides in turn, then other rows beside the table's; the truth is a loop of small operators, step by step."""

    def seconds(some: list[Case]) -> float:
        total = 0.0
        for case in some:
            sweeps = len(case.sweeps)
            theirs, mine = theirs_s(case.layer, case.sweeps), OVER_FLOOR * ours_s(case.layer, case.sweeps)
            timed = (clock.MOST + 3) * (theirs + mine + trial.MORE_ROWS * sweeps * 2 * mine)
            loop = check.STEPS * sweeps * case.L * case.D * 30 * 10e-6
            total += timed + loop + (2 + trial.MORE_ROWS * sweeps) * CASE_S
        return total

    wanted = cases.decided(tiny=False)
    first = wanted[: 2 * len(GOALS)]
    what = f"{len(wanted)} kinds of calls, first {len(first)} of all goals in {seconds(first):.0f} s"
    return Estimate(what, _kernels("auto"), seconds(wanted))


def _steps() -> Estimate:
    wanted = steps.shapes()
    each = (steps.ROUNDS + steps.WARMUP) * (steps.SHORT + steps.LONG) * 4e-6
    what = f"{len(micro.KINDS)} micro-measurements, {len(wanted)} sweeps"
    return Estimate(what, _kernels("steps"), len(wanted) * (CASE_S + each + PREDICT_S) + len(micro.KINDS) * CASE_S)


def _counted(quantity: str) -> Estimate:
    wanted = cases.of_quantity(quantity, tiny=False)
    return Estimate(f"{len(wanted)} cases", _kernels(quantity), len(wanted) * 0.3)


def _tuning() -> Estimate:
    wanted = tuning.shapes()
    each = needs.VARIANTS * (11 * 2 + 2) * 256 * 4e-6
    what = f"{len(wanted)} shapes, {needs.VARIANTS} variants each"
    return Estimate(what, _kernels("tuning"), len(wanted) * (CASE_S + each))


def _options() -> Estimate:
    """Both layers in turn, at twice the floor; the reference is a loop of small operators, in two dtypes."""
    wanted, seconds = options.every(), 0.0
    for option in wanted:
        layer = Layer(option.cell, DTYPES[option.dtype], option.T, option.B, option.H, option.H, 1)
        timed = 2 * (options.ROUNDS + options.WARMUP) * OVER_FLOOR * ours_s(layer, ("forward", "backward"))
        seconds += CASE_S + timed + 2 * options.CHECKED * 2 * 30 * 10e-6
    return Estimate(f"{len(wanted)} layers beside the plain one", _kernels("options"), seconds)


def _profile() -> Estimate:
    both, torchs = cases.of_quantity("launches", tiny=False), cases.profiled(cases.baselines(tiny=False))
    what = f"kernels of {len(both)} cases of both sides, of {len(torchs)} of torch.nn"
    return Estimate(what, 0, (2 * len(both) + len(torchs)) * PROFILE_S)


ESTIMATES: dict[str, Callable[[], Estimate]] = {
    "compile": _compile,
    "gate": _gate,
    "baseline": lambda: _cases(cases.baselines(tiny=False), 0, both=False),
    "ours": lambda: _cases(cases.timed(tiny=False), _kernels("ours"), both=True),
    "auto": _auto,
    "steps": _steps,
    "dropout": lambda: _counted("dropout"),
    "memory": lambda: _counted("memory"),
    "tuning": _tuning,
    "options": _options,
    "plots": lambda: Estimate("pandas and matplotlib", 0, 6.0),
    "profile": _profile,
    "breadth": lambda: Estimate("pytest -m gpu, as far as it comes", 0, None),
}


def table(minutes: float) -> str:
    """The phases of a run: when each must be over, its budget, what it has to do and how long that should take."""
    lines = ["| phase | over by, s | budget, s | to do | kernels | all of it, s |", "|---" * 6 + "|"]
    begun = 0.0
    for phase in PHASES:
        over, told = phase.over * minutes * 60, ESTIMATES[phase.name]()
        seconds = "what is left" if told.seconds is None else f"{told.seconds:.0f}"
        kernels = told.kernels or ""
        lines.append(f"| {phase.name} | {over:.0f} | {over - begun:.0f} | {told.what} | {kernels} | {seconds} |")
        begun = over
    return "\n".join(lines)
