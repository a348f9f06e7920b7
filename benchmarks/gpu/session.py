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
ALIVE_S = 5.0  # for a process to show that it can use the device
OF_THE_DEVICE = ("CUDA", "cuDNN")  # errors with these words may have cost the process its context on the GPU
SAME = ("device", "sources", "torch", "triton", "interpreted")  # must be equal in the parts of a resumed run
OF_TORCH = "baseline"  # the record of torch.nn alone, which may be continued with other sources of ours


@dataclass(frozen=True)
class Job:
    """What the worker runs for a row: `function` of `module`."""

    key: str
    module: str
    function: str
    arguments: tuple[Any, ...]
    instead: str | None = None  # why it is not run, if it is not
    unanswered: Sequence[Row] = ()  # its rows, but for the error, if it hangs or ends its process


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
        """The record of that name, continued if there is one. Raises RecordError if it was made elsewhere, or of other code."""
        path, here = self.out / f"{name}.json", self.environment
        if not path.exists():
            return Record(dict(here))
        old = load(path)
        for what in SAME:
            got = old.environment.get(what)
            if got != here.get(what) and (what, name) != ("sources", OF_TORCH):
                wanted = f"expected a record with {what} {here.get(what)} to go on with"
                raise RecordError(f"{path}: {wanted}, got {got}; choose another --out")
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
        begun, nothing = time.monotonic(), [{"key": job.key, "peer": "all"}]
        call = (job.module, job.function, job.arguments)
        try:
            rows: list[Row] = self.worker.run("benchmarks.gpu.jobs", "counted", call, LIMIT_S, self.left(phase))
        except JobError as failure:
            if failure.late and self.left(phase) <= 0:
                return None
            told = job.unanswered if failure.lost and job.unanswered else nothing
            rows = [{**row, "error": str(failure)} for row in told]
        if any(word in row.get("error", "") for row in rows for word in OF_THE_DEVICE):
            self._replace_if_lost()
        rows = rows or [{**row, "error": "expected rows, got none"} for row in nothing]
        return [{**row, "wall_s": round(time.monotonic() - begun, 3)} for row in rows]

    def _replace_if_lost(self) -> None:
        """After an error of the device: if the worker cannot use it any more, the next job gets a new one."""
        try:
            usable = self.worker.run("benchmarks.gpu.waiting", "usable", (self.device,), ALIVE_S)
        except JobError:
            usable = False
        if not usable:
            self.worker.stop(hung=True)
