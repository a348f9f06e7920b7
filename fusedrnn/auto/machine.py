"""What a decision depends on besides the kind of a call: the card, the versions, the code that was measured."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch

from fusedrnn.version import __version__

PACKAGE = Path(__file__).parents[1]
MEASURED = ("kernels", "operators", "backends")
"""Folders with the code whose results and times decisions are about."""


class Machine(NamedTuple):
    """A card and the versions of what runs on it.

    Attributes:
        card: the name that the driver gives, or "interpreter".
        capability: compute capability, (0, 0) in the interpreter.
        multiprocessors: their number; 1 in the interpreter.
        fusedrnn, sources: version, and a digest of the measured code.
        torch, triton, cudnn: versions; "none" for what is not there.
    """

    card: str
    capability: tuple[int, int]
    multiprocessors: int
    fusedrnn: str
    sources: str
    torch: str
    triton: str
    cudnn: str

    @property
    def chip(self) -> tuple[tuple[int, int] | None, int]:
        """Capability, None in the interpreter, and multiprocessors, as the launch table takes them."""
        return (None if self.capability == (0, 0) else self.capability), self.multiprocessors

    @property
    def name(self) -> str:
        """A file name without ending: the card, its capability, and a digest of everything."""
        card = re.sub(r"[^a-z0-9]+", "-", self.card.lower()).strip("-")
        digest = hashlib.sha256(json.dumps(self).encode()).hexdigest()[:12]
        return f"{card}-sm{self.capability[0]}{self.capability[1]}-{digest}"


@cache
def machine_of(device: torch.device) -> Machine:
    """The machine of a CUDA device with an index; for any other device that of the interpreter."""
    card, capability, multiprocessors = "interpreter", (0, 0), 1
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        card, capability = properties.name, (properties.major, properties.minor)
        multiprocessors = properties.multi_processor_count
    return Machine(card, capability, multiprocessors, __version__, _sources(), torch.__version__, _triton(), _cudnn())


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    for folder in MEASURED:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _triton() -> str:
    try:
        return metadata.version("triton")
    except metadata.PackageNotFoundError:
        return "none"


def _cudnn() -> str:
    version = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return "none" if version is None else str(version)
