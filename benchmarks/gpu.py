"""Use a GPU's minutes: environment, the GPU tests, every suite, a search for better launch rows, records and plots.

    python -m benchmarks.gpu --minutes 20
    python -m benchmarks.gpu --dry-run --out out/gpu      # on a CPU: Triton's interpreter and tiny sizes

Run again with the same --out it goes on where it stopped: what its records hold is not measured twice. Cases run in a child
process; one that hangs is killed, one that crashes is noted, and the rest go on. Needs a checkout and what is installed
beside torch for tests and tables (pytest, pandas, matplotlib); nothing is fetched.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.cases import Case
from benchmarks.environment import environment
from benchmarks.measure import Options
from benchmarks.records import RESULTS, Record, RecordError, Row, load
from benchmarks.run import say
from benchmarks.suites import SUITES, suite
from benchmarks.tuning import Tune, shapes
from benchmarks.worker import JobError, Worker

SHARES = {"tests": 0.3, "cases": 0.75, "tuning": 0.97}
"""By which part of the time each phase is over, whatever is left of it."""
LIMIT_S = 90.0
"""A case that takes longer, its compilation included, is killed."""
LEAST_TEST_S = 30.0
"""The tests get at least this long, however short the run."""
REFERENCE_AT = (512, 32)
"""H and B."""
SAME = ("device", "commit", "torch", "triton", "interpreted")
"""What must not change between the parts of a resumed run."""


@dataclass
class Session:
    """One run: where its records go, when it must be over, whether it is only tried out."""

    out: Path
    minutes: float
    dry: bool
    started: float

    @property
    def device(self) -> str:
        """Of every case."""
        return "cpu" if self.dry else "cuda"

    def left(self, phase: str) -> float:
        """Seconds until `phase` must be over."""
        return self.started + self.minutes * 60 * SHARES[phase] - time.monotonic()

    def record(self, name: str) -> Record:
        """The record of that name, continued if there is one.

        Raises:
            RecordError: it was made elsewhere, or of other code.
        """
        here = {**environment(torch.device(self.device)), "interpreted": self.dry}
        path = self.out / f"{name}.json"
        if not path.exists():
            return Record(here)
        old = load(path)
        for what in SAME:
            if old.environment.get(what) != here.get(what):
                raise RecordError(
                    f"{path}: expected a record with {what} {here.get(what)} to go on with, got {old.environment.get(what)}; "
                    "choose another --out"
                )
        return old


def tests(session: Session) -> bool:
    """Run the GPU tests (the dry run: those of the timing) and record how they ended; done once. True if they passed."""
    record = session.record("tests")
    if record.rows:
        return bool(record.rows[0]["passed"])
    chosen = ["tests/test_benchmarks_timing.py", "-k", "summary"] if session.dry else ["-m", "gpu"]
    limit = max(LEAST_TEST_S, session.left("tests"))
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "--maxfail=5", "-p", "no:cacheprovider", *chosen]
    process = subprocess.Popen(
        command, cwd=report.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        printed, _ = process.communicate(timeout=limit)
        code, tail = process.returncode, printed[-4000:]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the tests' own children too
        printed, _ = process.communicate()
        code, tail = -1, f"{printed[-4000:]}\nexpected an end within {limit:.0f} s, got none: killed"
    passed = code in (0, 5)  # 5: no test is marked gpu
    record.rows = [
        {
            "key": "tests",
            "peer": "pytest",
            "passed": passed,
            "exit": code,
            "seconds": time.monotonic() - started,
            "tail": tail,
        }
    ]
    record.save(session.out / "tests.json")
    print(f"tests: exit code {code} after {time.monotonic() - started:.0f} s\n{tail[-300:]}", flush=True)
    return passed


def order(*, tiny: bool) -> list[Case]:
    """Every suite's cases but the CPU's, one of each in turn, so that a short run has something of all.

    `tiny`: one case a suite.
    """
    every = [suite(name, tiny=tiny)[: 1 if tiny else None] for name in SUITES if name != "cpu"]
    return [case for turn in zip_longest(*every) for case in turn if case is not None]


def work(session: Session, name: str, phase: str, jobs: Iterator[tuple[str, str, str, tuple[object, ...]]]) -> int:
    """Run jobs (key, module, function, arguments) that the record lacks until the phase is over; the number done."""
    record, worker, count = session.record(name), Worker(), 0
    done = {row["key"] for row in record.rows}
    for key, module, function, arguments in jobs:
        if key in done:
            continue
        if session.left(phase) <= 0:
            print(f"{phase}: out of time; run again to go on", flush=True)
            break
        try:
            rows: list[Row] = worker.run(module, function, arguments, min(LIMIT_S, session.left(phase) + 5))
        except JobError as error:
            rows = [{"key": key, "peer": "all", "error": str(error)}]
        if any("CUDA error" in row.get("error", "") for row in rows):
            worker.stop()  # its context is lost
        print(key, *map(say, rows), sep="\n", flush=True)
        record.rows += rows or [{"key": key, "peer": "all", "error": "expected rows, got none"}]
        record.save(session.out / f"{name}.json")
        count += 1
    worker.stop()
    return count


def case_jobs(session: Session, options: Options) -> Iterator[tuple[str, str, str, tuple[object, ...]]]:
    """The suites' cases; the reference, which takes most of the time where it is a peer, at one size only."""
    for case in order(tiny=session.dry):
        slow = session.dry or (case.H, case.B) == REFERENCE_AT
        yield case.key, "benchmarks.gpu", "measure_case", (case, session.device, replace(options, reference=slow))


def measure_case(case: Case, device: str, options: Options) -> list[Row]:
    """In the child: `measure.measure`, with one thread on a CPU."""
    from benchmarks.measure import measure

    if device == "cpu":
        torch.set_num_threads(1)
    return measure(case, torch.device(device), options)


def tuning_jobs(session: Session) -> Iterator[tuple[str, str, str, tuple[object, ...]]]:
    """The shapes to tune."""
    chosen = (
        [Tune("forward", "gru", "fp32", 2, 2, 20), Tune("backward", "lstm", "fp32", 2, 2, 5)]
        if session.dry
        else shapes()
    )
    for tune in chosen:
        yield (
            tune.key,
            "benchmarks.tuning",
            "tune_shape",
            (tune, session.device, *((1, 1, 0) if session.dry else (8, 9, 2))),
        )


def main(arguments: list[str] | None = None) -> int:
    """Run every phase; exit status 1 if the tests failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of the whole run")
    parser.add_argument("--out", type=Path, help="where its records go, and where it goes on from")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, interpreted, tiny sizes")
    asked = parser.parse_args(arguments)
    if not asked.minutes > 0:
        parser.error(f"--minutes: expected more than 0, got {asked.minutes:g}")
    if asked.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # of the child
    elif not torch.cuda.is_available():
        parser.error("expected a CUDA device, got none (--dry-run tries the program on a CPU)")
    name = "dry-run" if asked.dry_run else torch.cuda.get_device_name().lower().replace(" ", "-")
    session = Session(asked.out or RESULTS / name, asked.minutes, asked.dry_run, time.monotonic())
    try:
        passed = tests(session)
        options = Options(1, 0) if session.dry else Options(rounds=11, warmup=2)
        cases = work(session, "gpu", "cases", case_jobs(session, options))
        tuned = work(session, "tuning", "tuning", tuning_jobs(session))
    except RecordError as error:
        parser.error(str(error))
    drawn = report.plot(report.records(session.out), session.out)
    proposals = [row for row in load_rows(session.out / "tuning.json") if row.get("proposed")]
    for row in proposals:
        print(f"proposed, {row['ratio']:.2f} times the table's speed: {row['key']}: {row['row']}")
    took = time.monotonic() - session.started
    print(
        f"{cases} cases, {tuned} shapes tuned, {len(proposals)} rows proposed, {len(drawn)} plots, {took:.0f} s, in {session.out}"
    )
    return 0 if passed else 1


def load_rows(path: Path) -> list[Row]:
    """The rows of a record that may not exist."""
    return load(path).rows if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
