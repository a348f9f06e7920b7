"""The classes that are replaced, and the record of which of them a test builds."""

import functools
import sys
from collections.abc import Callable

from torch import nn

import fusedrnn

OURS = {
    "GRU": fusedrnn.FusedGRU,
    "LSTM": fusedrnn.FusedLSTM,
    "GRUCell": fusedrnn.FusedGRUCell,
    "LSTMCell": fusedrnn.FusedLSTMCell,
    "Dropout": fusedrnn.FusedDropout,
}
"""Ours by the name of torch.nn's."""


def replace() -> None:
    """Put ours in the place of torch.nn's, in every module of torch.nn that knows them.

    So `nn.TransformerEncoderLayer`, for instance, builds `FusedDropout`. To be called before the tests are imported.
    """
    found = [module for name, module in sys.modules.items() if name == "torch.nn" or name.startswith("torch.nn.")]
    for name, ours in OURS.items():
        theirs = getattr(nn, name)
        for module in found:
            if vars(module).get(name) is theirs:
                setattr(module, name, ours)


def record(built: Callable[[str], None]) -> None:
    """Call `built` with the name of torch.nn's class whenever one that now has this name is built."""
    for name in OURS:
        cls = getattr(nn, name)
        cls.__init__ = _recorded(cls.__init__, name, built)


def _recorded(init: Callable[..., None], name: str, built: Callable[[str], None]) -> Callable[..., None]:
    @functools.wraps(init)
    def recorded(self, *args, **kwargs):
        built(name)
        init(self, *args, **kwargs)

    return recorded
