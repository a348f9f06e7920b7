"""Progress bars."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(work: Iterable[T], description: str, unit: str = "epoch") -> "tqdm[T]":
    """Iterate over `work` with a progress bar on stderr, which appears after half a second and is removed at the end.

    ``bar.set_postfix(loss=...)`` shows numbers in the bar; ``bar.write(...)`` prints lines above it.
    """
    return tqdm(work, desc=description, unit=unit, delay=0.5, leave=False, dynamic_ncols=True)
