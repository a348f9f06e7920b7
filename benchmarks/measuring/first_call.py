"""What the first call of a fresh process costs, compilation included, with an empty cache and with the cache it leaves."""

import json
import os
import subprocess
import sys
import tempfile

import torch

from benchmarks.measuring.cases import Case
from benchmarks.measuring.options import Options
from benchmarks.measuring.records import ROOT, Row

PROGRAM = """
import json, sys, time
started = time.perf_counter()
import torch
from benchmarks.measuring.cases import Case
from benchmarks.measuring.peers import peers
case, device = Case(**json.loads(sys.argv[1])), torch.device(sys.argv[2])
torch.set_num_threads(1)
peer = peers(case, device)[sys.argv[3]]
ends = [time.perf_counter()]
for _ in range(2):
    peer.call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    ends.append(time.perf_counter())
print(*(end - begun for begun, end in zip([started, *ends], ends)))
"""


def first_calls(case: Case, device: torch.device, options: Options) -> list[Row]:
    """Seconds of import and set-up, of the first call and of the second, for torch.nn and for ours twice over one cache."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as cache:
        for peer, state in (("torch.nn", "none"), ("ours", "empty"), ("ours", "filled")):
            environment = {**os.environ, "TRITON_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", PROGRAM, json.dumps(vars(case)), str(device), peer]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
            if done.returncode:
                rows.append({"peer": peer, "cache": state, "error": done.stderr.strip().splitlines()[-1]})
                continue
            setup, first, second = map(float, done.stdout.split())
            rows.append({"peer": peer, "cache": state, "setup_s": setup, "first_s": first, "second_s": second})
    return rows
