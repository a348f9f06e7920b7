"""The cases of `cpu_pairs`: what a user would write with torch.nn, and the same with our modules, on the same weights.

A path is a way to use a layer. Its case is given the sizes and returns calls by name, "ours" last; every call returns what the
backward starts from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, one_hot
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, FusedRNNCell

Call = Callable[[], Tensor]
LAYERS: dict[str, tuple[Any, Any]] = {
    "gru": (nn.GRU, FusedGRU),
    "lstm": (nn.LSTM, FusedLSTM),
    "rnn": (nn.RNN, FusedRNN),
}
CELLS: dict[str, tuple[Any, Any]] = {
    "gru": (nn.GRUCell, FusedGRUCell),
    "lstm": (nn.LSTMCell, FusedLSTMCell),
    "rnn": (nn.RNNCell, FusedRNNCell),
}
VOCABULARY = 60
"""Characters of a text."""
WORDS = 2000


class Sizes(NamedTuple):
    """The cell, units H, samples B, steps T, and whether to train."""

    cell: str
    H: int
    B: int
    T: int
    training: bool


def modules(kinds: tuple[Any, Any], *sizes: int, **options: Any) -> tuple[nn.Module, nn.Module]:
    """torch.nn's module and ours on the same memory: another might lie better or worse in the caches."""
    theirs, ours = (kind(*sizes, **options) for kind in kinds)
    for name, weight in theirs.named_parameters():
        setattr(ours, name, weight)
    return theirs, ours


def features(s: Sizes, dtype: torch.dtype | None = None) -> Tensor:
    """The input of a layer, (T, B, H)."""
    return torch.randn(s.T, s.B, s.H, dtype=dtype, requires_grad=s.training)


def layer(s: Sizes, **options: Any) -> dict[str, Call]:
    """A batch of samples of equal length."""
    (theirs, ours), x = modules(LAYERS[s.cell], s.H, s.H, **options), features(s, options.get("dtype"))
    return {"torch.nn": lambda: theirs(x)[0], "ours": lambda: ours(x)[0]}


def bfloat16(s: Sizes) -> dict[str, Call]:
    """A layer in bfloat16."""
    return layer(s, dtype=torch.bfloat16)


def deep(s: Sizes) -> dict[str, Call]:
    """Two layers of two directions."""
    return layer(s, num_layers=2, bidirectional=True)


def between(s: Sizes) -> dict[str, Call]:
    """Dropout between two layers, in training."""
    (theirs, ours), x = modules(LAYERS[s.cell], s.H, s.H, num_layers=2, dropout=0.5), features(s)
    for module in (theirs, ours):
        module.train(s.training)
    return {"torch.nn": lambda: theirs(x)[0], "ours": lambda: ours(x)[0]}


def cell(s: Sizes) -> dict[str, Call]:
    """A cell called step by step."""
    x = features(s)

    def steps(module: nn.Module) -> Tensor:
        found, hx = [], None
        for row in x:
            hx = module(row, hx)
            found.append(hx if isinstance(hx, Tensor) else hx[0])
        return torch.stack(found)

    theirs, ours = modules(CELLS[s.cell], s.H, s.H)
    return {"torch.nn": lambda: steps(theirs), "ours": lambda: steps(ours)}


def lengths_of(s: Sizes) -> Tensor:
    """Lengths from half of T to T; the longest has T steps."""
    lengths = torch.randint((s.T + 1) // 2, s.T + 1, (s.B,))
    lengths[0] = s.T
    return lengths


def lengths(s: Sizes) -> dict[str, Call]:
    """Padded samples of several lengths in any order: packed and padded again, or `lengths=`."""
    (theirs, ours), x, n = modules(LAYERS[s.cell], s.H, s.H), features(s), lengths_of(s)

    def packed() -> Tensor:
        output, _ = theirs(pack_padded_sequence(x, n, enforce_sorted=False))
        return pad_packed_sequence(output, total_length=s.T)[0]

    return {"torch.nn": packed, "ours": lambda: ours(x, lengths=n)[0]}


def packed(s: Sizes) -> dict[str, Call]:
    """A packed batch of several lengths."""
    theirs, ours = modules(LAYERS[s.cell], s.H, s.H)
    x = pack_padded_sequence(features(s).detach(), lengths_of(s), enforce_sorted=False)
    x.data.requires_grad_(s.training)
    return {"torch.nn": lambda: theirs(x)[0].data, "ours": lambda: ours(x)[0].data}


def ids(s: Sizes, vocabulary: int = VOCABULARY) -> dict[str, Call]:
    """Token ids: one-hot rows, the same function of the same weights; or an embedding of width H, with weights of its own."""
    (theirs, ours), tokens = modules(LAYERS[s.cell], vocabulary, s.H), torch.randint(vocabulary, (s.T, s.B))
    table, above = nn.Embedding(vocabulary, s.H), LAYERS[s.cell][0](s.H, s.H)
    return {
        "one-hot": lambda: theirs(one_hot(tokens, vocabulary).float())[0],
        "embedding": lambda: above(table(tokens))[0],
        "ours": lambda: ours(tokens)[0],
    }


def words(s: Sizes) -> dict[str, Call]:
    """Token ids of a larger vocabulary."""
    return ids(s, WORDS)


def generation(s: Sizes) -> dict[str, Call]:
    """T calls of one step each, on token ids, that hand the state on."""
    (theirs, ours), tokens = modules(LAYERS[s.cell], VOCABULARY, s.H), torch.randint(VOCABULARY, (s.T, 1, s.B))
    table, above = nn.Embedding(VOCABULARY, s.H), LAYERS[s.cell][0](s.H, s.H)

    def steps(step: Callable[[Tensor, Any], Any]) -> Tensor:
        hx = None
        for token in tokens:
            output, hx = step(token, hx)
        return output

    return {
        "one-hot": lambda: steps(lambda token, hx: theirs(one_hot(token, VOCABULARY).float(), hx)),
        "embedding": lambda: steps(lambda token, hx: above(table(token), hx)),
        "ours": lambda: steps(ours),
    }


class WeightDrop(nn.Module):
    """A layer of torch.nn with dropout of its W_hh, set before each call as in the code of AWD-LSTM (salesforce/awd-lstm-lm)."""

    def __init__(self, layer: nn.Module, p: float) -> None:
        super().__init__()
        self.layer, self.p = layer, p
        self.weight_hh = layer._parameters.pop("weight_hh_l0")

    def forward(self, x: Tensor) -> Any:
        """Drop and run."""
        self.layer.weight_hh_l0 = dropout(self.weight_hh, self.p, self.training)
        return self.layer(x)


class LockedDropout(nn.Module):
    """Dropout with one mask for all steps."""

    def forward(self, x: Tensor, p: float) -> Tensor:
        """Drop, in training."""
        if not self.training:
            return x
        return x * dropout(x.new_ones(1, *x.shape[1:]), p)


class Awd(nn.Module):
    """The layers of AWD-LSTM by torch.nn, on one-hot rows."""

    def __init__(self, cell: str, hidden_size: int) -> None:
        super().__init__()
        widths = (VOCABULARY, hidden_size)
        self.layers = nn.ModuleList([WeightDrop(LAYERS[cell][0](width, hidden_size), 0.5) for width in widths])
        self.between = LockedDropout()

    def forward(self, tokens: Tensor) -> tuple[Tensor, list[Any]]:
        """The output and the final states of each layer."""
        x, finals = one_hot(tokens, VOCABULARY).float(), []
        for depth, layer in enumerate(self.layers):
            if depth:
                x = self.between(x, 0.3)
            x, final = layer(x)
            finals.append(final)
        return x, finals


def awd(s: Sizes) -> dict[str, Call]:
    """AWD-LSTM (Merity et al. 2018): ids, two layers, DropConnect of W_hh, one dropout mask between the layers for all steps."""
    options = {"num_layers": 2, "dropout": 0.3, "variational": True, "weight_dropout": 0.5}
    theirs, ours = Awd(s.cell, s.H).train(s.training), LAYERS[s.cell][1](VOCABULARY, s.H, **options).train(s.training)
    for depth, dropped in enumerate(theirs.layers):  # the same memory, as in `modules`
        for name in ("weight_ih", "bias_ih", "bias_hh"):
            setattr(ours, f"{name}_l{depth}", dropped.layer._parameters[f"{name}_l0"])
        setattr(ours, f"weight_hh_l{depth}", dropped.weight_hh)
    tokens = torch.randint(VOCABULARY, (s.T, s.B))
    return {"one-hot": lambda: theirs(tokens)[0], "ours": lambda: ours(tokens)[0]}


PATHS: dict[str, Callable[[Sizes], dict[str, Call]]] = {
    "layer": layer,
    "layer in bfloat16": bfloat16,
    "two layers, two directions": deep,
    "dropout between layers": between,
    "cell": cell,
    "lengths=": lengths,
    "packed": packed,
    "ids": ids,
    "ids of 2000 words": words,
    "generation": generation,
    "AWD-LSTM": awd,
}
"""The paths by name."""
HIDDEN = (16, 64, 256, 512)
SHAPES = ((1, 1), (64, 1), (1, 256), (8, 32), (64, 16))
"""B, T."""
LONG = (64, 256)
"""B, T for the smaller H only."""
STEPWISE = ((1, 16), (64, 16))
"""B, T of the paths that call a module step by step."""


def cases(path: str) -> list[Sizes]:
    """The sizes that `path` is measured at."""
    found = []
    for name in LAYERS:
        for H in HIDDEN:
            shapes = STEPWISE if path in ("cell", "generation") else (*SHAPES, LONG) if H <= 64 else SHAPES
            modes = (True,) if path == "dropout between layers" else (False,) if path == "generation" else (False, True)
            found += [Sizes(name, H, B, T, training) for B, T in shapes for training in modes]
    return found
