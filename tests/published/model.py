"""A trained model inside a published wheel."""

from collections.abc import Callable
from dataclasses import dataclass
from zipfile import ZipFile

import torch
from torch import nn

from tests.published.wheels import Wheel


@dataclass(frozen=True)
class Published:
    """A model, and how to run it.

    Attributes:
        wheel: where its weights are.
        what: what it does, for the table.
        build: makes the network from the open wheel, with its weights, in evaluation mode.
        inputs: makes an input of a given batch and length, from torch's seed. What a length counts is up to the model.
        sizes: the batches and lengths to run; the first one is exported.
        recurrent: the report that `replace_rnns` must give, as name to change.
    """

    wheel: Wheel
    what: str
    build: Callable[[ZipFile], nn.Module]
    inputs: Callable[[int, int], torch.Tensor]
    sizes: tuple[tuple[int, int], ...]
    recurrent: dict[str, str]
