"""A training run: its state, and conversion to and from a checkpoint."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict

import torch

from examples.common.errors import UserError

from .checkpoint import Checkpoint
from .corpus import Corpus
from .model import build_model, generate
from .optimizers import build_optimizer
from .sampling import Batches, consecutive, epoch_size, shuffled
from .settings import FREE, Settings
from .training import train_epoch


class Run:
    """The model, its optimiser, the random generator, and the measurements so far."""

    def __init__(self, settings: Settings, corpus: Corpus) -> None:
        self.settings = settings
        self.corpus = corpus
        self.batches_per_epoch = epoch_size(settings.sampling, len(corpus.ids), settings.batch_size, settings.steps)
        self.characters_per_epoch = self.batches_per_epoch * settings.batch_size * settings.steps
        torch.manual_seed(settings.seed)
        self.model = build_model(settings, len(corpus.vocabulary))
        self.optimizer = build_optimizer(settings.optimizer, self.model.parameters(), settings.lr)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.ids = corpus.ids.to(settings.device)
        self.perplexity: list[float] = []
        self.samples: list[dict[str, str | int]] = []
        self.seconds = 0.0

    def train_epoch(self, progress: Callable[[int], None]) -> None:
        """Train one epoch and record its perplexity."""
        start = time.perf_counter()
        carry = self.settings.sampling == "consecutive"
        perplexity = train_epoch(
            self.model, self.optimizer, self._batches(), clip=self.settings.clip, carry_state=carry, progress=progress
        )
        self.perplexity.append(perplexity)
        self.seconds += time.perf_counter() - start

    def write_samples(self, prefixes: tuple[str, ...]) -> list[str]:
        """Generate a text from each prefix, record the texts and return them."""
        texts = [generate(self.model, self.corpus.vocabulary, prefix) for prefix in prefixes]
        epoch = len(self.perplexity)
        self.samples += [
            {"epoch": epoch, "prefix": prefix, "text": text} for prefix, text in zip(prefixes, texts, strict=True)
        ]
        return texts

    def freeze(self) -> Checkpoint:
        """Return a copy of the state, which further training does not change."""
        return Checkpoint(
            settings=asdict(self.settings),
            vocabulary=self.corpus.vocabulary.characters,
            corpus_sha256=self.corpus.sha256,
            model=copy.deepcopy(dict(self.model.state_dict())),
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            sampler=self.generator.get_state(),
            perplexity=list(self.perplexity),
            samples=list(self.samples),
            seconds=self.seconds,
        )

    def thaw(self, checkpoint: Checkpoint) -> None:
        """Restore the state of a checkpoint.

        Raises:
            UserError: the checkpoint has other settings or another text.
        """
        for name, expected in checkpoint.settings.items():
            if name not in FREE and expected != (got := getattr(self.settings, name)):
                option = name.replace("_", "-")
                raise UserError(f"expected the checkpoint's --{option} {expected} to resume it, got {got}")
        if checkpoint.corpus_sha256 != self.corpus.sha256:
            raise UserError(
                f"expected the text that the checkpoint was trained on (sha256 {checkpoint.corpus_sha256[:12]}), "
                f"got another one ({self.corpus.sha256[:12]})"
            )
        if len(checkpoint.perplexity) >= self.settings.epochs:
            raise UserError(
                f"expected --epochs above the {len(checkpoint.perplexity)} that are trained, got {self.settings.epochs}"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.generator.set_state(checkpoint.sampler)
        self.perplexity = list(checkpoint.perplexity)
        self.samples = list(checkpoint.samples)
        self.seconds = checkpoint.seconds

    def _batches(self) -> Batches:
        batch_size, steps = self.settings.batch_size, self.settings.steps
        if self.settings.sampling == "consecutive":
            return consecutive(self.ids, batch_size, steps)
        return shuffled(self.ids, batch_size, steps, self.generator)
