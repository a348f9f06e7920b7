"""A training run on disk, as it stood at the end of an epoch."""

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
    """Everything from which a run continues to the same numbers. Tensors are on the CPU when loaded."""

    settings: dict[str, Any]
    vocabulary: str
    corpus_sha256: str
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    sampler: Tensor  # state of the generator that shuffles windows
    perplexity: list[float]  # one an epoch: their number is the number of epochs trained
    samples: list[dict[str, str | int]]
    seconds: float


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint aside and rename it over `path`.

    Raises:
        UserError: the disk refuses.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **vars(checkpoint)}, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; tensors and plain values only, so a file from a stranger runs no code.

    Raises:
        UserError: the file is missing, truncated, or no checkpoint of this example.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"expected a checkpoint file, got {path}: {error.strerror}") from error
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling bytes that are no checkpoint comes to
        raise UserError(f"expected a whole checkpoint of lyrics.py, got {path}: truncated or another kind") from error
    names = {field.name for field in fields(Checkpoint)}
    ours = isinstance(loaded, dict) and loaded.pop("format", None) == FORMAT and set(loaded) == names
    if not ours or set(loaded["settings"]) != set(NAMES):
        raise UserError(f"expected a checkpoint of lyrics.py ({FORMAT}), got another kind in {path}")
    return Checkpoint(**loaded)
