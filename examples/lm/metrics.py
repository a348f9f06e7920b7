"""What a run leaves for programs to read."""

from dataclasses import asdict
from pathlib import Path

from examples.common.metrics import versions, write_json

from .run import Run


def write_metrics(path: Path, run: Run) -> None:
    """Write settings, versions, sizes, times and results as JSON."""
    record = {
        "settings": asdict(run.settings),
        "versions": versions(),
        "finished": len(run.perplexity) >= run.settings.epochs,
        "characters": len(run.corpus.text),
        "characters_per_epoch": run.characters_per_epoch,
        "vocabulary_size": len(run.corpus.vocabulary),
        "parameters": sum(p.numel() for p in run.model.parameters() if p.requires_grad),
        "seconds": round(run.seconds, 3),
        "perplexity": run.perplexity,
        "samples": run.samples,
    }
    write_json(path, record)
