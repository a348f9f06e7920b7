"""Data-parallel and sharded training, mixed precision and checkpoints around the modules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from contract_cases import hx_of, tensors, total
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from examples.experiments import ddp
from fusedrnn import FusedGRU, FusedLSTM

ROOT = Path(__file__).parents[2]
X = torch.randn(5, 4, 3)


@pytest.fixture(params=[FusedGRU, FusedLSTM], ids=["gru", "lstm"])
def kind(request):
    return request.param


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def torchrun(*arguments, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [*command, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_two_processes_train_as_one_on_the_joined_batch(tmp_path):
    saved = tmp_path / "weights.pt"
    done = torchrun(ROOT / "examples" / "ddp.py", "--steps", 6, "--save", saved)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("2 processes, 6 steps: loss 0.")
    torch.manual_seed(0)
    alone = ddp.Tagger(16)
    ddp.train(alone, 6, seed=0, rank=0, world=1, device=torch.device("cpu"))
    for name, weight in torch.load(saved, weights_only=True).items():
        torch.testing.assert_close(weight, alone.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_the_example_learns_and_says_how_it_is_started():
    torch.manual_seed(0)
    losses = ddp.train(ddp.Tagger(16), 120, seed=0, rank=0, world=1, device=torch.device("cpu"))
    assert losses[0] > 0.6
    assert sum(losses[-5:]) / 5 < 0.3
    environment = {k: v for k, v in os.environ.items() if k != "RANK"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "ddp.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "expected to be started by torchrun" in done.stderr


def losses_of(model, steps=3):
    optimizer, found = torch.optim.SGD(model.parameters(), 0.1), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = total(model(X))
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def sharded_one(module):
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(module, use_orig_params=True, device_id=torch.device("cpu"))


def sharded_two(module):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    return fully_shard(module, mesh=init_device_mesh("cpu", (1,)))


def parallel(module):
    return nn.parallel.DistributedDataParallel(module)


@pytest.mark.filterwarnings("ignore:.*FSDP:UserWarning", "ignore:.*FullyShardedDataParallel:FutureWarning")
@pytest.mark.parametrize("wrap", [parallel, sharded_one, sharded_two], ids=lambda f: f.__name__)
def test_a_wrapped_module_trains_as_a_bare_one(kind, group, wrap):
    found = []
    for wrapped in (False, True):
        torch.manual_seed(1)
        module = kind(3, 4, 2, bidirectional=True)
        module(X)  # what is set up in a first forward must not outlive the wrapping
        found.append(losses_of(wrap(module) if wrapped else module))
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[0][0] != found[0][-1]


def test_scaled_gradients_and_autocast_train(kind):
    torch.manual_seed(1)
    module, scaler = kind(3, 8), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    optimizer, losses = torch.optim.Adam(module.parameters(), 1e-2), []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = module(X)
        loss = (output.float() - 0.5).square().mean()
        scaler.scale(loss).backward()
        assert all(p.grad.dtype == torch.float32 for p in module.parameters())
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert scaler.get_scale() == 2.0**16  # no step was skipped for an overflow


def test_an_overflow_skips_the_step(kind):
    module, scaler = kind(3, 8), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    optimizer, before = torch.optim.SGD(module.parameters(), 1.0), [p.clone() for p in module.parameters()]
    output, _ = module(X)
    scaler.scale(output.sum() * 1e38).backward()
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert scaler.get_scale() == 2.0**15


@pytest.mark.parametrize("reentrant", [False, True], ids=["not reentrant", "reentrant"])
def test_checkpoints_give_the_same_gradients_and_masks(kind, reentrant):
    module, x = kind(3, 4, 2, dropout=0.5), X.clone().requires_grad_()
    hx, found = hx_of(module, 2, 4, 4), []

    def flattened(*given):
        return tuple(tensors(module(*given)))  # the reentrant form follows no nested tuple

    for run in (flattened, lambda *given: checkpoint(flattened, *given, use_reentrant=reentrant)):
        module.zero_grad()
        torch.manual_seed(2)
        result = run(x, hx)
        total(result).backward()
        found.append([*tensors(result), *(p.grad.clone() for p in module.parameters())])
    for got, expected in zip(*found, strict=True):  # close, not equal: without a graph oneDNN runs another kernel
        torch.testing.assert_close(got, expected)


def test_checkpoints_in_a_row_of_modules():
    class Output(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x)[0]

    row = nn.Sequential(Output(FusedGRU(3, 4)), Output(FusedLSTM(4, 5)), nn.Linear(5, 1))
    x, found = X.clone().requires_grad_(), []
    for run in (row, lambda given: checkpoint_sequential(row, 2, given, use_reentrant=False)):
        row.zero_grad()
        run(x).square().sum().backward()
        found.append([p.grad.clone() for p in row.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
