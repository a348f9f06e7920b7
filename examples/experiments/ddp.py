"""The data-parallel training of `examples/ddp.py`."""

import argparse
import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fusedrnn import FusedGRU

BATCH, STEPS = 32, 12


class Tagger(nn.Module):
    """A GRU over bits, given as token ids, and a linear layer that scores each step."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru = FusedGRU(2, hidden, batch_first=True)
        self.score = nn.Linear(hidden, 1)

    def forward(self, bits: Tensor) -> Tensor:
        """Return logits, (B, T), for bits, (B, T) int64."""
        output, _ = self.gru(bits)
        scores: Tensor = self.score(output).squeeze(-1)
        return scores


def batches(count: int, seed: int) -> list[Tensor]:
    """Draw batches of bits, (BATCH, STEPS) int64, the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 2, (BATCH, STEPS), generator=generator) for _ in range(count)]


def train(model: nn.Module, steps: int, seed: int, rank: int, world: int, device: torch.device) -> list[float]:
    """Train on this process's part of every batch; return its losses."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for bits in batches(steps, seed):
        mine = bits[rank::world].to(device)
        target = (mine.cumsum(1) % 2).float()
        loss = nn.functional.binary_cross_entropy_with_logits(model(mine), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(options: argparse.Namespace) -> None:
    """Join the process group of torchrun, train, print the losses and save the weights."""
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if on_gpu else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    torch.manual_seed(options.seed)
    model = DistributedDataParallel(Tagger(options.hidden).to(device))
    losses = train(model, options.steps, options.seed, rank, world, device)
    if rank == 0:
        print(f"{world} processes, {options.steps} steps: loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        if options.save:
            temporary = options.save.with_suffix(".part")
            torch.save(model.module.state_dict(), temporary)
            temporary.replace(options.save)
    del model  # its reducer keeps a reference to the group
    dist.barrier()  # rank 0 may still be saving: destroying the group earlier would break its connection
    dist.destroy_process_group()
