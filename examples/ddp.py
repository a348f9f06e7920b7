"""Train a GRU tagger data-parallel: every process computes a part of each batch, and all keep the same weights.

    torchrun --nproc-per-node 2 examples/ddp.py --steps 20

Uses gloo on CPUs, NCCL on GPUs. The task is synthetic: predict at every step whether the bits up to it have odd parity.
`--save FILE` writes the weights of rank 0.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

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


def main() -> None:
    """Join the process group of torchrun, train, print the losses and save the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="file for the weights")
    args = parser.parse_args()
    if "RANK" not in os.environ:
        parser.error("expected to be started by torchrun, got no RANK in the environment")
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if on_gpu else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    torch.manual_seed(args.seed)
    model = DistributedDataParallel(Tagger(args.hidden).to(device))
    losses = train(model, args.steps, args.seed, rank, world, device)
    if rank == 0:
        print(f"{world} processes, {args.steps} steps: loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        if args.save:
            temporary = args.save.with_suffix(".part")
            torch.save(model.module.state_dict(), temporary)
            temporary.replace(args.save)
    del model  # its reducer keeps a reference to the group
    dist.barrier()  # rank 0 may still be saving: destroying the group earlier would break its connection
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
