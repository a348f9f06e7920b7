"""Under DistributedDataParallel each rank drops by its own seed, and the gradients are still averaged."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RANK = """
import json, sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from fusedrnn import FusedDropout, FusedGRU
rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = FusedGRU(3, 5, 2, dropout=0.5)
        self.dropout = FusedDropout(0.5)
    def forward(self, x):
        self.seen = self.dropout(torch.ones(99))
        return self.dropout(self.rnn(x)[0])
torch.manual_seed(0)
net = Net()
model = DistributedDataParallel(net)
torch.manual_seed(10 + rank)
output = model(torch.ones(4, 2, 3))
output.sum().backward()
grads = [p.grad.flatten().tolist() for p in model.parameters()]
print(json.dumps({"mask": net.seen.tolist(), "output": output.flatten().tolist(), "grads": grads}))
torch.distributed.destroy_process_group()
"""


def test_two_ranks_drop_differently_and_share_gradients(tmp_path):
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    results = []
    for run in runs:
        out, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
        results.append(json.loads(out.splitlines()[-1]))
    first, second = results
    assert first["mask"] != second["mask"]
    assert first["output"] != second["output"]
    assert first["grads"] == second["grads"]
