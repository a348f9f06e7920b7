"""What the values of command line options may be."""

import argparse
import math
from collections.abc import Callable

import torch


def positive(kind: Callable[[str], int | float]) -> Callable[[str], int | float]:
    """Make a parser of finite numbers above zero, whole ones where `kind` is int."""

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
    """Parse what torch takes as a seed."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**63 - 1, got {text!r}")
    return int(text)


def device_name(text: str) -> str:
    """Check that the device is of a kind that the examples run on, and is there."""
    if text == "auto":
        return text
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


def resolve_device(name: str) -> torch.device:
    """Turn what `device_name` let through into a device; "auto" is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
