"""Use a GPU's minutes: compile, judge the kernels, time torch.nn and ours, let "auto" decide, steps, tuning, options, tests.

    python -m benchmarks.gpu --minutes 8
    python -m benchmarks.gpu --plan                       # the phases and what each would do, without a GPU
    python -m benchmarks.gpu --dry-run --out out/gpu      # on a CPU: Triton's interpreter and tiny sizes

Every row is written as soon as it is measured; run again with the same --out it continues where it stopped. Cases run in a child
process, which is replaced when a case crashes or takes longer than 20 s. Nothing is downloaded.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu import plan
from benchmarks.gpu.phases import PHASES, SHARES
from benchmarks.gpu.session import LIMIT_S, Session
from benchmarks.gpu.worker import JobError, Worker
from benchmarks.measuring.records import RESULTS, RecordError


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__, formatter_class=raw)
    parser.add_argument("--minutes", type=float, default=8.0, help="of the whole run")
    parser.add_argument("--out", type=Path, help="where its records go; a run continues those it finds there")
    parser.add_argument("--plan", action="store_true", help="print the phases, their budgets and what each has to do")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, interpreted, tiny sizes")
    parser.add_argument("--spoil", metavar="CELL/FORM", help="of a dry run: a forward sweep to make wrong")
    asked = parser.parse_args(arguments)
    if not asked.minutes > 0:
        parser.error(f"--minutes: expected more than 0, got {asked.minutes:g}")
    if asked.spoil and not asked.dry_run:
        parser.error("--spoil: expected a --dry-run, got a real one")
    if not asked.plan and not asked.dry_run:
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # only the worker touches the device
        if not torch.cuda.is_available():
            parser.error("expected a CUDA device, got none (--dry-run tries the program on a CPU)")
    return asked


def run(session: Session) -> int:
    """Every phase; exit status 1 if a kernel or a test failed. Raises RecordError if the folder holds another run's records."""
    for phase in PHASES:
        left, passed = session.left(phase.name), session.passed()
        if left <= 0:
            print(f"[{passed:5.0f} s] {phase.name}: no time left for it", flush=True)
            continue
        print(f"[{passed:5.0f} s] {phase.name}: until {left + passed:.0f} s", flush=True)
        try:
            told = phase.run(session)
        except RecordError:
            raise
        except Exception as failure:  # the other phases are still worth their time
            told = f"not done: {type(failure).__name__}: {failure}"
        print(f"[{session.passed():5.0f} s] {phase.name}: {told}", flush=True)
    failed = [row["subject"] for row in session.rows("gate") if row.get("verdict") == "failed"]
    failed += [
        row["key"] for name in ("auto", "options") for row in session.rows(name) if row.get("verdict") == "failed"
    ]
    failed += [row["key"] for row in session.rows("tests") if row.get("outcome") in ("failed", "hung", "died")]
    print(f"{len(failed)} failed", *failed, f"records in {session.out}", sep="\n", flush=True)
    return 1 if failed else 0


def main(arguments: list[str] | None = None, started: float | None = None) -> int:
    """Run, or plan."""
    asked = parsed(arguments)
    if asked.plan:
        print(plan.table(asked.minutes))
        return 0
    if asked.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # of the children
    device = "cpu" if asked.dry_run else "cuda"
    started = started or time.monotonic()
    worker = Worker(("benchmarks.gpu.jobs", "ready", (device,)))
    try:
        about = ("benchmarks.measuring.environment", "environment", (torch.device(device),))
        here = worker.run(*about, LIMIT_S, asked.minutes * 60)
        out = asked.out or RESULTS / ("dry-run" if asked.dry_run else here["device"].lower().replace(" ", "-"))
        told = {**here, "interpreted": asked.dry_run}
        return run(Session(out, asked.minutes, asked.dry_run, started, SHARES, worker, told, asked.spoil))
    except (RecordError, JobError) as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    finally:
        worker.stop(hung=True)
