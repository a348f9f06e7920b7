"""A progress bar for whatever takes more than a moment."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(work: Iterable[T], description: str, unit: str = "epoch") -> "tqdm[T]":
    """Go through `work` under a bar on stderr, which appears after half a second and leaves nothing behind.

    Numbers go beside it with ``bar.set_postfix(loss=...)``, lines above it with ``bar.write(...)``.
    """
    return tqdm(work, desc=description, unit=unit, delay=0.5, leave=False, dynamic_ncols=True)
