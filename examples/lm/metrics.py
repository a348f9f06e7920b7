"""The record and the conclusion of a run."""

from dataclasses import asdict
from typing import Any

from examples.common.metrics import versions

from .compare import frequency_perplexity
from .run import Run


def conclude(run: Run) -> str:
    """Summarise the results of the run in a paragraph."""
    settings, epochs = run.settings, len(run.perplexity)
    size = f"layers {settings.layers}, hidden {settings.hidden}"
    if not epochs:
        return "No epoch was finished."
    return (
        f"{settings.cell} ({size}, {settings.sampling} sampling, {settings.optimizer}): "
        f"perplexity {run.perplexity[0]:.4g} after the first epoch, {run.perplexity[-1]:.4g} after {epochs}; the lowest is "
        f"{min(run.perplexity):.4g}. Character frequencies alone would give {frequency_perplexity(run.corpus):.4g}. Perplexity "
        "is measured on the training text: it shows how well the text was memorised."
    )


def record(run: Run, *, quick: bool) -> dict[str, Any]:
    """Return settings, versions, sizes, times and results."""
    corpus, name = run.corpus, run.settings.corpus
    return {
        "experiment": "lyrics",
        "data": f"{len(corpus.text)} characters, {len(corpus.vocabulary)} different ones, corpus {name}",
        "data_is_fallback": False,
        "table": [{"epoch": epoch, "perplexity": run.perplexity[epoch - 1]} for epoch in _reported(run)],
        "conclusion": conclude(run),
        "settings": {**asdict(run.settings), "quick": quick},
        "versions": versions(),
        "finished": len(run.perplexity) >= run.settings.epochs,
        "characters": len(corpus.text),
        "characters_per_epoch": run.characters_per_epoch,
        "vocabulary_size": len(corpus.vocabulary),
        "parameters": sum(p.numel() for p in run.model.parameters() if p.requires_grad),
        "seconds": round(run.seconds, 3),
        "frequencies": frequency_perplexity(corpus),
        "perplexity": run.perplexity,
        "samples": run.samples,
    }


def _reported(run: Run) -> list[int]:
    """Return the reported epochs, including the first and the last."""
    epochs = len(run.perplexity)
    return sorted(
        {*range(run.settings.report_every, epochs + 1, run.settings.report_every), *[1, epochs][: 2 * epochs]}
    )
