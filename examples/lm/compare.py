"""Several training runs on one text, side by side."""

import math
from collections.abc import Mapping

import torch

from examples.common.progress import progress

from .corpus import Corpus
from .run import Run
from .settings import Settings


def train_all(variants: Mapping[str, Settings], corpus: Corpus) -> dict[str, Run]:
    """Train a run of each of the settings to its last epoch, under a bar of its own; return them under the same names."""
    runs = {}
    for name, settings in variants.items():
        runs[name] = run = Run(settings, corpus)
        for _ in (bar := progress(range(settings.epochs), name)):
            run.train_epoch(lambda characters: None)
            bar.set_postfix(perplexity=f"{run.perplexity[-1]:.2f}", refresh=False)
    return runs


def frequency_perplexity(corpus: Corpus) -> float:
    """Return exp of the entropy of the text's characters: the best that a model without any context can do."""
    share = torch.bincount(corpus.ids).double() / len(corpus.ids)
    return math.exp(torch.special.entr(share).sum().item())
