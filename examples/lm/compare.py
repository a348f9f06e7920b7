"""Comparison of several training runs on one text."""

import math
from collections.abc import Mapping

import torch

from examples.common.progress import progress

from .corpus import Corpus
from .run import Run
from .settings import Settings


def train_all(variants: Mapping[str, Settings], corpus: Corpus) -> dict[str, Run]:
    """Train one run per settings to its last epoch, each with a progress bar; return the runs by name."""
    runs = {}
    for name, settings in variants.items():
        runs[name] = run = Run(settings, corpus)
        for _ in (bar := progress(range(settings.epochs), name)):
            run.train_epoch(lambda characters: None)
            bar.set_postfix(perplexity=f"{run.perplexity[-1]:.2f}", refresh=False)
    return runs


def frequency_perplexity(corpus: Corpus) -> float:
    """Return exp of the entropy of the characters: the lowest perplexity of a model without context."""
    share = torch.bincount(corpus.ids).double() / len(corpus.ids)
    return math.exp(torch.special.entr(share).sum().item())
