"""Run an example as a user does, in this process, and read its metrics; a corpus made of a given text."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.lm.corpus import Corpus
from examples.lm.vocabulary import Vocabulary


def run_example(main, out, *options) -> dict:
    """Run with --quick into `out`; return metrics.json, after checking the files that every experiment writes."""
    assert main(["--quick", "--out", str(out), *map(str, options)]) == 0
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    figures = metrics["figures"]
    assert figures
    for figure in figures:
        assert (out / figure).read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in out.iterdir()} >= {"metrics.json", *figures}
    assert not list(out.glob("*.part"))
    assert len(metrics["conclusion"]) > 100
    assert "nan" not in metrics["conclusion"]
    assert metrics["table"]
    return metrics


@contextmanager
def drawn_with(draw) -> Iterator[None]:
    """Let this function draw the figures of every experiment that starts meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("examples.common.outcome.drawing", lambda name: draw)
        yield


def corpus_of(text: str) -> Corpus:
    vocabulary = Vocabulary(text)
    return Corpus(text, vocabulary, vocabulary.encode(text))
