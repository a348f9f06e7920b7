"""Song lyrics as labelled sequences: the label of a character is the next one."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from examples.lm.corpus import load_corpus


class Text(NamedTuple):
    """A text as ids, (n,) int64, of a vocabulary of `symbols` characters."""

    ids: Tensor
    symbols: int

    def draw(self, steps: int, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return random windows, (steps + 1, batch) int64, and the labels of their first `steps` characters."""
        starts = torch.randint(len(self.ids) - steps, (batch,), generator=generator)
        x = self.ids[starts + torch.arange(steps + 1).unsqueeze(1)]
        return x, x[1:]


def lyrics() -> tuple[Text, Text]:
    """Return three quarters of the default lyrics for training and the rest for evaluation, with one vocabulary."""
    corpus = load_corpus("default", 10**6)
    cut = len(corpus.ids) * 3 // 4
    symbols = len(corpus.vocabulary)
    return Text(corpus.ids[:cut], symbols), Text(corpus.ids[cut:], symbols)
