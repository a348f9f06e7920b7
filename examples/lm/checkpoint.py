"""Checkpoints: the state of a training run at the end of an epoch, on disk."""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from examples.common.errors import UserError
from examples.common.files import write_whole

from .settings import NAMES

FORMAT = "fusedrnn-lyrics-2"


@dataclass(frozen=True)
class Checkpoint:
    """The complete state of a run, so that a resumed run gives the same numbers. Loaded tensors are on the CPU."""

    settings: dict[str, Any]
    vocabulary: str
    corpus_sha256: str
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    sampler: Tensor  # state of the generator that shuffles windows
    perplexity: list[float]  # one per epoch trained
    samples: list[dict[str, str | int]]
    seconds: float


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint to a temporary file and rename it to `path`.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **vars(checkpoint)}, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, tensors and plain values only, so that an untrusted file cannot run code.

    Raises:
        UserError: the file is missing, truncated, or not a checkpoint of this example.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"expected a checkpoint file, got {path}: {error.strerror}") from error
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling arbitrary bytes can raise anything
        raise UserError(f"expected a whole checkpoint of lyrics.py, got {path}: truncated or another kind") from error
    names = {field.name for field in fields(Checkpoint)}
    ours = isinstance(loaded, dict) and loaded.pop("format", None) == FORMAT and set(loaded) == names
    if not ours or set(loaded["settings"]) != set(NAMES):
        raise UserError(f"expected a checkpoint of lyrics.py ({FORMAT}), got another kind in {path}")
    return Checkpoint(**loaded)
