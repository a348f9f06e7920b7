"""A process with a pretended GPU, for tests of several at once: `auto_worker.py JSON` prints what came of it as JSON.

The argument has "task", one of `TASKS`; "meet", a folder in which "processes" of them wait for each other before they start; and
for ranks "rank", "port" and "kernels_s".
"""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from pretended_gpu import pretend

from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.auto import known, settle, trial

SPEEDS = pretend(pytest.MonkeyPatch())


def meet(asked):
    """Wait until all processes have come here."""
    folder = Path(asked["meet"])
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < asked["processes"]:
        time.sleep(0.01)


def decided(cell=FusedGRU):
    """Run a call; the decision of its kind, and how many calls of the kernels it took."""
    before, old = SPEEDS.ran["kernels"], set(known.by_kind)
    cell(3, 5)(torch.randn(2, 2, 3))
    new = [known.by_kind[key] for key in known.by_kind if key not in old]
    return {"backend": new[0].backend, "reason": new[0].reason, "ran": SPEEDS.ran["kernels"] - before}


def measure(asked):
    meet(asked)
    return decided()


def crash(asked):
    """End in the middle of a measurement, as a kernel with an illegal access may end its process."""
    trial.Race = lambda *_: os._exit(7)
    return decided()


def rank(asked):
    """Decide three kinds: both ranks together, rank 0 alone, and one for which the kernels of rank 1 are wrong."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{asked['port']}", rank=asked["rank"], world_size=2
    )
    SPEEDS.kernels = asked["kernels_s"]
    meet(asked)
    both = decided()
    torch.distributed.barrier()
    alone = decided(FusedLSTM) if asked["rank"] == 0 else None
    torch.distributed.barrier()
    later = decided(FusedLSTM) if asked["rank"] == 1 else None
    if asked["rank"] == 0:
        SPEEDS.kernels = 0.5
        third = decided(lambda *sizes: FusedGRU(*sizes, bidirectional=True))
    torch.distributed.barrier()
    if asked["rank"] == 1:
        known.wrong[settle.machine_of(torch.device("cpu"))] = {"a kind": "this one"}
        third = decided(lambda *sizes: FusedGRU(*sizes, bidirectional=True))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return {"both": both, "alone": alone or later, "third": third}


TASKS = {"measure": measure, "crash": crash, "rank": rank}

if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = json.loads(sys.argv[1])
    print(json.dumps(TASKS[asked["task"]](asked)))
