"""What a run leaves for programs to read."""

import json
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import torch

import fusedrnn

from .files import write_whole
from .run import Run


def write_metrics(path: Path, run: Run) -> None:
    """Write settings, versions, sizes, times and results as JSON."""
    record = {
        "settings": asdict(run.settings),
        "versions": {
            "fusedrnn": fusedrnn.__version__,
            "torch": torch.__version__,
            "triton": _version("triton"),
            "python": platform.python_version(),
        },
        "finished": len(run.perplexity) >= run.settings.epochs,
        "characters": len(run.corpus.text),
        "characters_per_epoch": run.characters_per_epoch,
        "vocabulary_size": len(run.corpus.vocabulary),
        "parameters": sum(p.numel() for p in run.model.parameters() if p.requires_grad),
        "seconds": round(run.seconds, 3),
        "perplexity": run.perplexity,
        "samples": run.samples,
    }
    write_whole(path, (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
