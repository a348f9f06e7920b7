"""Train with the lyrics program in this process, small, and read what it wrote."""

import json
from pathlib import Path

import torch

from examples.lm.checkpoint import load_checkpoint
from examples.lyrics import main

SMALL = ["--hidden", "24", "--batch-size", "3", "--steps", "7", "--device", "cpu"]


def train(song: str, out: Path, *options: object, expect: int = 0) -> dict:
    arguments = ["--corpus", song, "--out", out, *SMALL, *options]
    assert main([str(argument) for argument in arguments]) == expect
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def parameters(out: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(out / "checkpoint.pt").model


def assert_whole(out: Path) -> None:
    """Nothing half-written: the three files and no others, each readable."""
    assert {path.name for path in out.iterdir()} == {"checkpoint.pt", "metrics.json", "perplexity.png"}
    assert (out / "perplexity.png").read_bytes().startswith(b"\x89PNG")
    load_checkpoint(out / "checkpoint.pt")
    json.loads((out / "metrics.json").read_text(encoding="utf-8"))
