"""One run: its clock, its records, and jobs in a worker until a phase is over."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.worker import JobError, Worker
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.records import Record, RecordError, Row, load
from benchmarks.measuring.run import say

LIMIT_S = 20.0  # a case that takes longer is killed
OF_THE_DEVICE = ("CUDA", "cuDNN")  # what errors say after which a process may have lost its context on the GPU
ALIVE_S = 5.0  # for a process to show that it has not
SAME = ("device", "sources", "torch", "triton", "interpreted")
"""What must not change between the parts of a resumed run."""
OF_TORCH = "baseline"  # the record of torch.nn alone, which other sources of ours may go on with


@dataclass(frozen=True)
class Job:
    """What the worker runs for a row: `function` of `module`.

    `instead`: why it is not run, if it is not; `unanswered`: its rows, but for the error, if it hangs or ends its process.
    """

    key: str
    module: str
    function: str
    arguments: tuple[Any, ...]
    instead: str | None = None
    unanswered: Sequence[Row] = ()


@dataclass
class Session:
    """One run: where its records go, when it began, how long it may take, whether it is only tried out on a CPU."""

    out: Path
    minutes: float
    dry: bool
    started: float
    shares: dict[str, float]
    worker: Worker
    environment: dict[str, Any]
    spoil: str | None = None

    @property
    def device(self) -> str:
        """Of every case."""
        return "cpu" if self.dry else "cuda"

    @property
    def chip(self) -> Chip:
        """The GPU's, or the interpreter."""
        if self.dry:
            return Chip(None, 1)
        major, minor = self.environment["capability"]
        return Chip((major, minor), self.environment["multiprocessors"])

    def left(self, phase: str | None = None) -> float:
        """Seconds until `phase`, or the whole run, must be over."""
        share = self.shares[phase] if phase else 1.0
        return self.started + self.minutes * 60 * share - time.monotonic()

    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def record(self, name: str) -> Record:
        """The record of that name, continued if there is one.

        Raises:
            RecordError: it was made elsewhere, or of other code.
        """
        path = self.out / f"{name}.json"
        if not path.exists():
            return Record(dict(self.environment))
        old = load(path)
        for what in SAME:
            if what == "sources" and name == OF_TORCH:
                continue
            if old.environment.get(what) != self.environment.get(what):
                raise RecordError(
                    f"{path}: expected a record with {what} {self.environment.get(what)} to go on with, got "
                    f"{old.environment.get(what)}; choose another --out"
                )
        return old

    def rows(self, name: str) -> list[Row]:
        """The rows of a record that may not exist."""
        path = self.out / f"{name}.json"
        return load(path).rows if path.exists() else []

    def work(self, name: str, phase: str, jobs: Iterable[Job]) -> int:
        """Run the jobs that the record lacks until the phase is over, writing each one's rows at once; the number done."""
        record, count = self.record(name), 0
        done = {row["key"] for row in record.rows}
        for job in jobs:
            if job.key in done:
                continue
            if job.instead is None and self.left(phase) <= 0:
                print(f"{phase}: out of time; run again to go on", flush=True)
                break
            rows = self._rows(job, phase)
            if rows is None:
                print(f"{phase}: out of time in {job.key}; run again to go on", flush=True)
                break
            print(f"[{self.passed():5.0f} s] {job.key}", *map(say, rows), sep="\n", flush=True)
            record.rows += rows
            record.save(self.out / f"{name}.json")
            count += 1
        return count

    def _rows(self, job: Job, phase: str) -> list[Row] | None:
        """What the job found, or why nothing; None where the phase was over before it was."""
        if job.instead is not None:
            return [{"key": job.key, "peer": "ours", "error": job.instead}]
        begun = time.monotonic()
        try:
            rows: list[Row] = self.worker.run(
                "benchmarks.gpu.jobs", "counted", (job.module, job.function, job.arguments), LIMIT_S, self.left(phase)
            )
        except JobError as failure:
            if failure.late and self.left(phase) <= 0:
                return None
            told = job.unanswered if failure.lost and job.unanswered else [{"key": job.key, "peer": "all"}]
            rows = [{**row, "error": str(failure)} for row in told]
        if any(word in row.get("error", "") for row in rows for word in OF_THE_DEVICE):
            self._replace_if_lost()
        rows = rows or [{"key": job.key, "peer": "all", "error": "expected rows, got none"}]
        return [{**row, "wall_s": round(time.monotonic() - begun, 3)} for row in rows]

    def _replace_if_lost(self) -> None:
        """After an error of the device: if the worker cannot use it any more, the next job gets a new one."""
        try:
            usable = self.worker.run("benchmarks.gpu.waiting", "usable", (self.device,), ALIVE_S)
        except JobError:
            usable = False
        if not usable:
            self.worker.stop(hung=True)
