"""The GPU tests, many at a time and each with a limit, until the time is over; every result is written as it comes.

Each of several pytest processes runs its share and compiles its own kernels, so that all cores compile. A test that hangs is
killed with its process and noted, and the rest of the share runs in a new one. Tests marked alone run after the others, one at
a time.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.children import Child, listened
from benchmarks.gpu.compiling import cores
from benchmarks.gpu.session import Session
from benchmarks.measuring.records import DECISIONS, Record, Row, write
from fusedrnn.auto.settings import FOLDER_VARIABLE

FILES = (
    "tests/gpu/test_parity.py", "tests/gpu/test_options.py", "tests/gpu/test_runtime.py", "tests/gpu/test_dropout.py",
    "tests/gpu/test_auto.py", "tests/gpu/test_auto_caller.py", "tests/modules/test_beyond_torch.py",
)  # fmt: skip
"""Those with GPU tests: other files may not be importable on that machine."""
SHARDS = 12  # at most; each holds a context of the GPU
LIMIT_S = 60.0  # for a test, the compilation of its kernels included
SLOW_LIMIT_S = 300.0  # for one that is marked slow
TEXT = 2000  # characters that are kept of what a process printed
STARTS = 3  # of a share at most; a process that dies twice while it collects will do so again


@dataclass(frozen=True)
class Pass:
    """Tests that run together: pytest's arguments, and in how many processes."""

    name: str
    arguments: tuple[str, ...]
    shards: int


def passes(*, dry: bool) -> list[Pass]:
    """First what may run side by side, then what needs the GPU alone; of a dry run, a few tests of the timing."""
    if dry:
        few = ("tests/benchmarks/test_timing.py", "-k")
        return [Pass("side by side", (*few, "summary"), 2), Pass("alone", (*few, "ratio"), 1)]
    shards, gpu = max(1, min(SHARDS, cores() - 2)), (*FILES, "-m")
    return [Pass("side by side", (*gpu, "gpu and not alone"), shards), Pass("alone", (*gpu, "gpu and alone"), 1)]


@dataclass
class Share:
    """A process of a pass: what it runs now, and since when."""

    shard: int
    child: Child
    starts: int = 1
    test: str | None = None
    since: float = 0.0


@dataclass
class Results:
    """What is known of the tests, over all passes; the record is written as each result comes."""

    session: Session
    record: Record
    collected: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)

    @property
    def done(self) -> set[str]:
        """Ids of tests that have a result."""
        return {row["key"] for row in self.record.rows if row["peer"] == "pytest"}

    def save(self, row: Row) -> None:
        """Add a row with an outcome."""
        self.record.rows.append(row)
        self.record.save(self.session.out / "tests.json")
        if row["outcome"] not in ("passed", "skipped"):
            print(f"[{self.session.passed():5.0f} s] {row['outcome']}: {row['key']}", flush=True)

    def summary(self) -> Row:
        """How far the tests came."""
        outcomes = [row["outcome"] for row in self.record.rows if row["peer"] == "pytest"]
        row = {"key": "tests", "peer": "summary", "collected": len(self.collected)}
        row |= {name: outcomes.count(name) for name in ("passed", "failed", "skipped", "hung", "died")}
        return {**row, "not_reached": len(self.collected - self.done)}


class Running:
    """A pass in progress."""

    def __init__(self, results: Results, wanted: Pass, folder: Path) -> None:
        self._results, self._wanted, self._skip = results, wanted, folder / "skip.json"
        self._shares = [Share(shard, self._child(shard)) for shard in range(wanted.shards)]
        self._children = [share.child for share in self._shares]

    def go_on(self, until: float) -> None:
        """Run what the record lacks, until the clock (`time.monotonic`) says `until`; nothing is left running."""
        for heard in listened(self._children, until):
            if heard is not None:
                child, message = heard
                share = next(share for share in self._shares if share.child is child)
                if message is not None:
                    self._note(share, message)
                else:
                    self._ended(share, "died", child.tail(), child.end())
            for share in filter(self._hangs, self._shares):
                self._ended(share, "hung", "expected an end within the limit, got none: killed", share.child.kill())
        for child in self._children:
            child.signal()  # all at once: the end of a process that uses a GPU takes a second
        for child in self._children:
            child.kill()

    def _hangs(self, share: Share) -> bool:
        if share.test is None or share.child not in self._children:
            return False
        return time.monotonic() - share.since > (SLOW_LIMIT_S if share.test in self._results.slow else LIMIT_S)

    def _child(self, shard: int) -> Child:
        write(self._skip, json.dumps(sorted(self._results.done)))
        environment = {
            **os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "FUSEDRNN_SHARD": f"{shard}/{self._wanted.shards}",
            "FUSEDRNN_SKIP": str(self._skip), FOLDER_VARIABLE: str(self._skip.parent / DECISIONS),
            "PYTHONPATH": os.pathsep.join(filter(None, [".", os.environ.get("PYTHONPATH")])),
        }  # fmt: skip
        options = ("-q", "-p", "benchmarks.gpu.progress", "-p", "no:cacheprovider", "--continue-on-collection-errors")
        warnings = ("-W", "default")  # not errors: those of that machine's versions say nothing of the kernels
        return Child([sys.executable, "-m", "pytest", *options, *warnings, *self._wanted.arguments], environment)

    def _note(self, share: Share, message: dict[str, Any]) -> None:
        if "collected" in message:
            self._results.collected |= set(message["collected"])
            self._results.slow |= set(message["slow"])
        elif "started" in message:
            share.test, share.since = message["started"], time.monotonic()
        else:
            share.test = None
            self._results.save({"key": message.pop("ended"), "peer": "pytest", **message})

    def _ended(self, share: Share, outcome: str, text: str, code: int) -> None:
        """A share's process is over: note the test that it was in, and start another for the rest if there may be one."""
        self._children.remove(share.child)
        told: Row = {"outcome": outcome, "text": text[-TEXT:], "exit": code}
        if share.test is not None:
            self._results.save({"key": share.test, "peer": "pytest", **told})
        elif code not in (0, 1, 5):  # passed, failed, nothing to run
            key = f"share {share.shard} of {self._wanted.name}, start {share.starts}"
            self._results.save({"key": key, "peer": "share", **told})
        else:
            return
        if share.test is not None or share.starts < STARTS:
            share.child, share.starts, share.test = self._child(share.shard), share.starts + 1, None
            self._children.append(share.child)


def run(session: Session) -> Row:
    """Run the tests of every pass and say how far they came."""
    record = session.record("tests")
    record.rows = [row for row in record.rows if row["peer"] != "summary"]
    results = Results(session, record)
    for wanted in passes(dry=session.dry):
        if session.left("breadth") > 0:
            with tempfile.TemporaryDirectory() as folder:
                Running(results, wanted, Path(folder)).go_on(time.monotonic() + session.left("breadth"))
    row = results.summary()
    record.rows.insert(0, row)
    record.save(session.out / "tests.json")
    return row
