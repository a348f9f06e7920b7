"""What a run leaves for programs to read."""

from dataclasses import asdict
from pathlib import Path

from examples.common.metrics import versions, write_json

from .compare import frequency_perplexity
from .run import Run


def conclude(run: Run) -> str:
    """Say what the run came to, from its numbers."""
    settings, epochs = run.settings, len(run.perplexity)
    size = f"layers {settings.layers}, hidden {settings.hidden}"
    if not epochs:
        return "No epoch was finished."
    return (
        f"{settings.cell} ({size}, {settings.sampling} sampling, {settings.optimizer}): "
        f"perplexity {run.perplexity[0]:.4g} after the first epoch, {run.perplexity[-1]:.4g} after {epochs}, at the lowest "
        f"{min(run.perplexity):.4g}. Character frequencies alone would give {frequency_perplexity(run.corpus):.4g}. This is the "
        "training text: the figure says how well it was memorised."
    )


def write_metrics(path: Path, run: Run) -> None:
    """Write settings, versions, sizes, times and results as JSON."""
    corpus, name = run.corpus, run.settings.corpus
    record = {
        "experiment": "lyrics",
        "data": f"{len(corpus.text)} characters, {len(corpus.vocabulary)} different ones, corpus {name}",
        "data_is_fallback": False,
        "table": [{"epoch": epoch, "perplexity": run.perplexity[epoch - 1]} for epoch in _told(run)],
        "figures": ["perplexity.png"] if run.perplexity else [],
        "conclusion": conclude(run),
        "settings": asdict(run.settings),
        "versions": versions(),
        "finished": len(run.perplexity) >= run.settings.epochs,
        "characters": len(corpus.text),
        "characters_per_epoch": run.characters_per_epoch,
        "vocabulary_size": len(corpus.vocabulary),
        "parameters": sum(p.numel() for p in run.model.parameters() if p.requires_grad),
        "seconds": round(run.seconds, 3),
        "perplexity": run.perplexity,
        "samples": run.samples,
    }
    write_json(path, record)


def _told(run: Run) -> list[int]:
    """List the epochs that were reported on, the first and the last among them."""
    epochs = len(run.perplexity)
    return sorted(
        {*range(run.settings.report_every, epochs + 1, run.settings.report_every), *[1, epochs][: 2 * epochs]}
    )
