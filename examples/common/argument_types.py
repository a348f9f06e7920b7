"""Types of command line options."""

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def positive(kind: Callable[[str], int | float]) -> Callable[[str], int | float]:
    """Return an argparse type for finite numbers above zero, integers if `kind` is int."""

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            name = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"expected a positive {name}, got {text!r}")
        return value

    return parse


def seed(text: str) -> int:
    """Parse a seed for torch."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**63 - 1, got {text!r}")
    return int(text)


def device_name(text: str) -> str:
    """Check that the name is "auto", or a CPU or CUDA device that exists."""
    if text in ("auto", "cpu"):
        return text
    import torch  # here: it takes seconds, and --help should not

    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda or cuda:N, got {text!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(
            f"expected a device that is there, got {text!r} with {torch.cuda.device_count()} CUDA devices"
        )
    return text


def resolve_device(name: str) -> "torch.device":
    """Convert a name checked by `device_name` to a device; "auto" is CUDA if available."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
