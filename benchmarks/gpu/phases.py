"""The phases of a run, in their order, each with the part of the time by which it is over, whatever is left to do.

Parity before speed: kernels are compiled, the gate decides which of them are right, torch.nn is timed, then what passed.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.gpu import breadth, cases, conditions, decisions, gate, micro, needs, options, profiled, steps, tuning
from benchmarks.gpu.children import Child, listened
from benchmarks.gpu.kernels import Kernel, of_case, of_kind, of_option, of_sweep, of_tune
from benchmarks.gpu.session import OF_TORCH, Job, Session
from benchmarks.gpu.tuning import Tune
from benchmarks.measuring.cases import Case
from benchmarks.measuring.peers import BASE
from benchmarks.measuring.records import DECISIONS, Row

REFERENCE_AT = ("layer", "bf16", 256, 512, 32)
"""Suite, dtype, T, H and B at which the textbook reference is timed too; elsewhere it would take most of the time."""
DRY_KERNELS = 1  # kernels a phase that a dry run compiles, for an H100
DRY_CHECKS = (
    gate.Check("gru", "fp32", "alone", 9, lengths=False, T=3, B=2),
    gate.Check("lstm", "fp32", "registers", 20, lengths=True, T=3, B=2),
    gate.Check("lstm", "fp32", "alone", 9, lengths=False, T=3, B=2),
)
DRY_STEPS = (Tune("forward", "lstm", "fp32", 4, 2, 20), Tune("backward", "gru", "fp32", 4, 2, 5))
DRY_OPTIONS = [
    options.Option(name, cell, 9, "fp32", T=3, B=2) for name, cell in (("layer_norm", "gru"), ("resets", "lstm"))
]
DRY_TUNES = (Tune("forward", "gru", "fp32", 2, 2, 20), Tune("backward", "lstm", "fp32", 2, 2, 5))


def compile_kernels(session: Session) -> str:
    """Compile what the phases need, on all cores, before anything is launched; of a resumed run, what is not cached."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu.compiling"]
    if session.chip.capability is None:
        command += ["--first", str(DRY_KERNELS)]
    else:
        major, minor = session.chip.capability
        command += ["--capability", str(major), str(minor), "--multiprocessors", str(session.chip.multiprocessors)]
    rows, tail, code = [], "", 0
    children = [Child(command, {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"})]
    for heard in listened(children, time.monotonic() + session.left("compile")):
        if heard is None:
            continue
        child, message = heard
        if message is None:
            tail, code = child.tail(), child.end()
            children.remove(child)
        else:
            rows.append(message)
    for child in children:
        tail, code = child.tail(), child.kill()
    wanted, *kernels = rows or [{}]
    new, errors = sum(row["new"] for row in kernels), sum("error" in row for row in kernels)
    told: Row = {
        "key": "compile", "peer": "summary", **wanted, "done": len(kernels), "new": new, "errors": errors,
        "core_s": round(sum(row["seconds"] for row in kernels), 1), "wall_s": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    if code not in (0, 1):
        told["error"] = f"ended with {code}: {tail[-500:]}"
    record = session.record("compile")
    record.rows += [told, *(row for row in kernels if row["new"] or "error" in row)]
    record.save(session.out / "compile.json")
    return ", ".join(f"{told[name]} {name}" for name in ("done", "new", "errors", "core_s", "wall_s"))


def gated(session: Session) -> str:
    """Which kernels are right."""

    def check(one: gate.Check) -> Job:
        arguments = (one, session.device, session.spoil == f"{one.cell}/{one.form}")
        return Job(one.key, gate.__name__, "run_check", arguments, unanswered=gate.condemned(one))

    def condition(name: str) -> Job:
        told = conditions.condemned(name)
        return Job(told[0]["key"], conditions.__name__, "run_condition", (name, session.device), unanswered=told)

    checks = list(DRY_CHECKS) if session.dry else gate.checks(session.chip)
    jobs = [check(one) for one in checks if not one.lengths] + [condition(name) for name in conditions.CONDITIONS]
    jobs += [check(one) for one in checks if one.lengths]
    session.work("gate", "gate", jobs)
    rows = session.rows("gate")
    verdicts = [row.get("verdict", "without an answer") for row in rows]
    told = [f"{verdicts.count(name)} {name}" for name in ("passed", "inexact", "failed", "without an answer")]
    missing = len({job.key for job in jobs} - {row["key"] for row in rows})
    return ", ".join([*told, f"{missing} not reached"])


def baseline(session: Session) -> str:
    """torch.nn alone, so that its times are recorded even if ours fails."""
    wanted = cases.baselines(tiny=session.dry)
    jobs = (Job(case.key, "benchmarks.gpu.jobs", "baseline", (case, session.device, session.dry)) for case in wanted)
    return f"{session.work(OF_TORCH, 'baseline', jobs)} cases"


def ours(session: Session) -> str:
    """Ours beside torch.nn."""
    return _cases(session, "ours", cases.timed(tiny=session.dry))


def auto(session: Session) -> str:
    """What the backend "auto" decides, for kinds of calls whose kernels passed the gate."""
    instead, seconds, folder = _instead(session), _torchs(session), (session.out / DECISIONS).resolve()
    ratios = {row["key"]: row["ratio"] for row in session.rows("gpu") if row["peer"] == "ours" and "ratio" in row}

    def job(case: Case) -> Job:
        arguments = (case, session.device, folder, ratios.get(case.key), seconds.get(case.key))
        why = instead(of_kind(decisions.kind_of(case), session.chip))
        told = decisions.condemned(case)
        return Job(decisions.key_of(case), decisions.__name__, "decide", arguments, why, unanswered=told)

    session.work("auto", "auto", map(job, cases.decided(tiny=session.dry)))
    return decisions.told(session.rows("auto"))


def dropout(session: Session) -> str:
    """Dropout and its fused epilogue beside torch's."""
    return _cases(session, "dropout", cases.of_quantity("dropout", tiny=session.dry))


def memory(session: Session) -> str:
    """What a training step holds in memory."""
    return _cases(session, "memory", cases.of_quantity("memory", tiny=session.dry))


def _cases(session: Session, phase: str, wanted: list[Case]) -> str:
    """Measure cases; one whose kernels failed the gate is not run."""
    instead, seconds = _instead(session), _torchs(session)

    def job(case: Case) -> Job:
        reference = session.dry or (case.suite, case.dtype, case.T, case.H, case.B) == REFERENCE_AT
        arguments = (case, session.device, 0.0 if session.dry else seconds.get(case.key), reference)
        return Job(case.key, "benchmarks.gpu.jobs", "beside", arguments, instead(of_case(case)))

    return f"{session.work('gpu', phase, map(job, wanted))} cases"


def _torchs(session: Session) -> dict[str, float]:
    """Seconds of torch.nn alone, by case."""
    return {row["key"]: row["median_s"] for row in session.rows(OF_TORCH) if "median_s" in row}


def _instead(session: Session) -> Callable[[Iterable[Kernel]], str | None]:
    """Says of kernels why what runs them is not run, by the gate's record as it is now."""
    failed = gate.failures(session.rows("gate"))
    return lambda kernels: gate.left_out(kernels, session.chip, failed)


def time_steps(session: Session) -> str:
    """Microseconds a step beside the timeline's prediction, and what its constants are on this chip."""
    kinds = [Job(f"micro: {kind}", micro.__name__, "measure", (kind, session.device)) for kind in micro.KINDS]
    count = session.work("steps", "steps", kinds)
    hz = next((row["hz"] for row in session.rows("steps") if "hz" in row), None)
    instead = _instead(session)
    lengths, rounds = ((2, 4), 1) if session.dry else ((steps.SHORT, steps.LONG), steps.ROUNDS)

    def job(tune: Tune) -> Job:
        arguments = (tune, session.device, hz, lengths, rounds)
        return Job(steps.key_of(tune), steps.__name__, "measure", arguments, instead(of_sweep(tune)))

    count += session.work("steps", "steps", map(job, DRY_STEPS if session.dry else steps.shapes()))
    return f"{count} measured"


def tune(session: Session) -> str:
    """A search for better rows of the launch table; variants of forms that failed the gate are not tried."""
    failed, instead = gate.failures(session.rows("gate")), _instead(session)
    how = (1, 1, 0) if session.dry else (needs.VARIANTS, 9, 2)

    def job(shape: Tune) -> Job:
        arguments = (shape, session.device, *how, gate.failed_forms(shape, failed))
        return Job(shape.key, tuning.__name__, "tune_shape", arguments, instead(of_tune(shape, session.chip, 0)))

    done = session.work("tuning", "tuning", map(job, DRY_TUNES if session.dry else tuning.shapes()))
    proposed = [row for row in session.rows("tuning") if row.get("proposed")]
    for row in proposed:
        print(f"proposed, {row['ratio']:.2f} times the table's speed: {row['key']}: {row['row']}")
    return f"{done} shapes, {len(proposed)} rows proposed"


def try_options(session: Session) -> str:
    """What the options cost a training step, and which of them are right."""
    instead, rounds = _instead(session), 1 if session.dry else options.ROUNDS

    def job(option: options.Option) -> Job:
        why, told = instead(of_option(option)), options.condemned(option)
        return Job(option.key, options.__name__, "measure", (option, session.device, rounds), why, unanswered=told)

    done = session.work("options", "options", map(job, DRY_OPTIONS if session.dry else options.every()))
    verdicts = [row.get("verdict", "left out") for row in session.rows("options")]
    return ", ".join(
        [f"{done} measured", *(f"{verdicts.count(name)} {name}" for name in ("passed", "inexact", "failed"))]
    )


def draw(session: Session) -> str:
    """Plots of what has been measured."""
    session.worker.run("benchmarks.gpu.jobs", "draw", (session.out,), 20.0, session.left("plots"))
    return "drawn"


def profile(session: Session) -> str:
    """The names of cuDNN's kernels, and how many kernels a step of either side launches; nothing is timed after it."""
    instead = _instead(session)
    counted = cases.of_quantity("launches", tiny=session.dry)
    named = cases.profiled(cases.baselines(tiny=session.dry))

    def job(case: Case, names: tuple[str, ...], why: str | None = None) -> Job:
        return Job(profiled.key_of(case), profiled.__name__, "profile", (case, session.device, names), why)

    done = session.work("gpu", "profile", (job(case, (BASE, "ours"), instead(of_case(case))) for case in counted))
    return f"{done + session.work(OF_TORCH, 'profile', (job(case, (BASE,)) for case in named))} cases"


def test(session: Session) -> str:
    """The GPU tests, with the time that is left."""
    session.worker.stop()  # frees the memory of the GPU for the tests
    row: Row = breadth.run(session)
    return ", ".join(f"{row[name]} {name.replace('_', ' ')}" for name in list(row)[2:])


@dataclass(frozen=True)
class Phase:
    """`over`: the part of the run's time by which it must be over; `run` returns what it did, in words."""

    name: str
    over: float
    run: Callable[[Session], str]


PHASES = (
    Phase("compile", 0.135, compile_kernels),
    Phase("gate", 0.26, gated),
    Phase("baseline", 0.40, baseline),
    Phase("ours", 0.62, ours),
    Phase("auto", 0.705, auto),
    Phase("steps", 0.74, time_steps),
    Phase("dropout", 0.758, dropout),
    Phase("memory", 0.773, memory),
    Phase("tuning", 0.815, tune),
    Phase("options", 0.841, try_options),
    Phase("plots", 0.856, draw),
    Phase("profile", 0.926, profile),
    Phase("breadth", 0.985, test),
)
SHARES = {phase.name: phase.over for phase in PHASES}
