"""Types of arguments, for annotations: the names that an option takes, and unions that several functions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

Backend = Literal["auto", "reference", "aten", "triton"]
"""Who runs a call; see `FusedGRU`."""

Memory = Literal["save", "recompute"]
"""What the forward saves for the backward; see `FusedGRU`."""

Nonlinearity = Literal["tanh", "relu"]
"""The activation of `FusedRNN` and `FusedRNNCell`."""

AutoMode = Literal["measure", "cached", "off"]
"""How the backend "auto" decides on a GPU; see `set_auto`."""

Lengths: TypeAlias = Tensor | Sequence[int]
"""Steps of each sample, (B,)."""

StatePair: TypeAlias = tuple[Tensor, ...] | list[Tensor]
"""h and c of an LSTM where they are given; of any length, for `tuple(h.detach() for h in states)` has none for a type checker."""

Zoneout: TypeAlias = float | tuple[float, float]
"""A probability for h, or of an LSTM two, for h and c."""

Device: TypeAlias = torch.device | str | int | None
"""Where parameters are made; None for torch's default device."""

if TYPE_CHECKING:
    Function = TypeVar("Function", bound=Callable[..., Any])

    def typed_as(function: Function) -> Callable[[Callable[..., Any]], Function]:
        """Give what is decorated the type of `function`; `nn.Module.__call__` gets that of `forward`, where torch has Any."""
