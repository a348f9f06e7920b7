"""The runs of `examples/lyrics.py`: training, with samples and checkpoints, and generation."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from examples.common.files import prepare_directory
from examples.common.outcome import write_results
from examples.figures import drawing
from examples.lm.checkpoint import load_checkpoint, save_checkpoint
from examples.lm.corpus import load_corpus
from examples.lm.interrupt import Stopped, stop_on_ctrl_c
from examples.lm.metrics import conclude, record
from examples.lm.model import build_model, generate
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run
from examples.lm.settings import Settings
from examples.lm.vocabulary import Vocabulary

PREFIXES = ("分开", "不分开")


def run(options: argparse.Namespace, arguments: Sequence[str] | None) -> int:
    """Train or generate; return the exit code: 0, or 130 after Ctrl-C.

    Args:
        options: the parsed command line.
        arguments: the command line, which is parsed again when a run is resumed.
    """
    if options.generate is not None:
        return write(options)
    return train(start_run(options, arguments), options.out, quick=options.quick)


def start_run(options: argparse.Namespace, arguments: Sequence[str] | None) -> Run:
    """Build a new run, or one that resumes a checkpoint, whose settings are the defaults of the command line."""
    if not options.resume:
        prepare_directory(options.out)
        settings = settings_of(options)
        return Run(settings, load_corpus(settings.corpus, settings.max_chars))
    checkpoint = load_checkpoint(options.out / "checkpoint.pt")
    parser = build_parser()
    parser.set_defaults(**checkpoint.settings)
    settings = settings_of(parser.parse_args(arguments))
    prepare_directory(options.out)
    run = Run(settings, load_corpus(settings.corpus, settings.max_chars))
    run.thaw(checkpoint)
    return run


def train(run: Run, out: Path, *, quick: bool) -> int:
    """Train to the last epoch; print samples; write metrics, a figure and a checkpoint."""
    settings, vocabulary, draw = run.settings, run.corpus.vocabulary, drawing("lyrics")
    print(f"{settings.cell} on {len(run.corpus.text)} characters, {len(vocabulary)} different ones, {settings.device}")
    prefixes = tuple(prefix for prefix in PREFIXES if not vocabulary.missing(prefix))
    for prefix in (prefix for prefix in PREFIXES if prefix not in prefixes):
        print(f"no samples from {prefix}: the text lacks {vocabulary.missing(prefix)}")
    code = 0
    with stop_on_ctrl_c() as stop, _progress_bar(run) as bar:

        def progress(characters: int) -> None:
            bar.update(characters)
            stop.check()

        while (epoch := len(run.perplexity) + 1) <= settings.epochs:
            before = run.freeze()
            try:
                run.train_epoch(progress)
            except Stopped:  # drop the unfinished epoch, so that resuming gives the same numbers
                save_checkpoint(out / "checkpoint.pt", before)
                code = 130
                break
            bar.set_postfix(epoch=epoch, perplexity=f"{run.perplexity[-1]:.3f}", refresh=False)
            if epoch % settings.report_every == 0 or epoch == settings.epochs:
                for text in run.write_samples(prefixes):
                    bar.write(f"epoch {epoch}, perplexity {run.perplexity[-1]:.3f}: {text}")
                save_checkpoint(out / "checkpoint.pt", run.freeze())
        write_results(out, record(run, quick=quick), draw)
    _print_summary(run, out, stopped=code == 130)
    return code


def write(options: argparse.Namespace) -> int:
    """Continue a prefix with the trained model and print the text."""
    checkpoint = load_checkpoint(options.checkpoint or options.out / "checkpoint.pt")
    vocabulary = Vocabulary(checkpoint.vocabulary)
    here = settings_of(options)
    settings = replace(Settings(**checkpoint.settings), backend=here.backend, device=here.device)
    model = build_model(settings, len(vocabulary))
    model.load_state_dict(checkpoint.model)
    print(generate(model, vocabulary, options.generate))
    return 0


def _progress_bar(run: Run) -> "tqdm[NoReturn]":
    """Make a progress bar that counts characters and shows characters per second."""
    return tqdm(
        total=run.settings.epochs * run.characters_per_epoch,
        initial=len(run.perplexity) * run.characters_per_epoch,
        unit="char",
        unit_scale=True,
    )


def _print_summary(run: Run, out: Path, *, stopped: bool) -> None:
    epochs = len(run.perplexity)
    if run.perplexity:
        print(f"perplexity {run.perplexity[-1]:.3f} on the training text after {epochs} epochs, {run.seconds:.0f} s")
        print(conclude(run))
        print(f"figure {out / 'perplexity.png'}, numbers {out / 'metrics.json'}, model {out / 'checkpoint.pt'}")
    if stopped:
        print(f"stopped with {epochs} epochs done; go on with: python examples/lyrics.py --resume --out {out}")
