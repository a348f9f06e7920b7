"""The figures of the experiments, drawn from their records: a module an experiment, with its name and a function `draw`."""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[Mapping[str, Any]], "dict[str, Figure]"]  # from a record to figures by file name, such as "fits.png"


def drawing(experiment: str) -> Draw:
    """Return the function that draws the figures of an experiment from its record."""
    draw: Draw = importlib.import_module(f"examples.figures.{experiment}").draw
    return draw
