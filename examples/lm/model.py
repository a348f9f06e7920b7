"""The language model: a recurrent net over characters and a linear output layer."""

from typing import cast

import torch
from torch import Tensor, nn

from examples.common.errors import UserError
from fusedrnn import FusedGRU, FusedLSTM, FusedRNN

from .settings import Settings
from .vocabulary import Vocabulary

STANDARD_DEVIATIONS = {"normal": lambda hidden: 0.01, "xavier": lambda hidden: hidden**-0.5}  # of recurrent weights
State = tuple[Tensor, ...]  # (h,) or (h, c), each (layers, batch, hidden)


class CharModel(nn.Module):
    """Maps character ids to scores of the next character.

    Weights are initialised from N(0, 0.01^2), with `init` "xavier" the recurrent weights from N(0, 1 / hidden); biases are 0. The
    textbook's cells have one bias per gate where torch.nn's have two, so b_hh is fixed at zero: the model is exactly the
    textbook's.
    """

    def __init__(self, recurrent: nn.Module, hidden: int, vocabulary_size: int, init: str = "normal") -> None:
        super().__init__()
        self.recurrent = recurrent
        self.head = nn.Linear(hidden, vocabulary_size)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "bias" in name:
                    parameter.zero_()
                else:
                    parameter.normal_(0.0, STANDARD_DEVIATIONS["normal" if name.startswith("head") else init](hidden))
                if "bias_hh" in name:
                    parameter.requires_grad_(False)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map ids, (steps, batch) int64, to scores, (steps, batch, vocabulary), and the state after the last step."""
        hx = state[0] if state is not None and len(state) == 1 else state
        output, last = self.recurrent(ids, hx)
        return self.head(output), last if isinstance(last, tuple) else (last,)


def build_model(settings: Settings, vocabulary_size: int) -> CharModel:
    """Build the model of these settings on its device; weights are drawn from torch's default generator."""
    sizes = (vocabulary_size, settings.hidden, settings.layers)
    recurrent: nn.Module
    if settings.cell == "rnn":
        recurrent = FusedRNN(*sizes, backend=settings.backend)
    elif settings.cell == "lstm":
        recurrent = FusedLSTM(*sizes, backend=settings.backend)
    else:
        recurrent = FusedGRU(*sizes, backend=settings.backend, reset_after=settings.cell == "gru")
    return CharModel(recurrent, settings.hidden, vocabulary_size, settings.init).to(settings.device)


@torch.no_grad()
def generate(model: CharModel, vocabulary: Vocabulary, prefix: str, length: int = 50) -> str:
    """Continue `prefix` by `length` characters with greedy decoding.

    Raises:
        UserError: the prefix is empty or has a character outside the vocabulary.
    """
    if not prefix:
        raise UserError("expected a prefix of at least one character, got none")
    device = model.head.weight.device
    ids = vocabulary.encode(prefix).to(device).unsqueeze(1)  # (len(prefix), 1)
    state: State | None = None
    written: list[Tensor] = []
    for _ in range(length):
        scores, state = model(ids, state)
        ids = scores[-1:].argmax(dim=-1)  # (1, 1)
        written.append(ids)
    return prefix + vocabulary.decode(cast(list[int], torch.cat(written).flatten().tolist()))
