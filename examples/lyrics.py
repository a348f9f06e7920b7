"""A character language model: trained on song lyrics, it writes more of them.

    python examples/lyrics.py --out out/lyrics                          # train on the default lyrics
    python examples/lyrics.py --out out/lyrics --generate 分开           # let the trained model write
    python examples/lyrics.py --help

The net reads a text one character at a time and guesses the next one. It is trained by truncated backpropagation
through time: minibatches of 35 steps, gradients clipped, and the state carried from one minibatch to the next.
Its measure is perplexity, on the training text: 1 means that the text is known by heart, the vocabulary's size means
that nothing is known. It measures memorising, not how good the songs are.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

if __package__ in (None, ""):  # run as a file: `examples` is found from the repository's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.common.files import prepare_directory
from examples.common.program import program
from examples.lm.checkpoint import load_checkpoint, save_checkpoint
from examples.lm.compare import frequency_perplexity
from examples.lm.corpus import load_corpus
from examples.lm.interrupt import Stopped, stop_on_ctrl_c
from examples.lm.metrics import conclude, write_metrics
from examples.lm.model import build_model, generate
from examples.lm.options import build_parser, settings_of
from examples.lm.plots import plot_perplexity
from examples.lm.run import Run
from examples.lm.settings import Settings
from examples.lm.vocabulary import Vocabulary

PREFIXES = ("分开", "不分开")


@program("lyrics.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code: 0, 2 for a user's error, 130 after Ctrl-C."""
    options = build_parser(__doc__).parse_args(arguments)
    if options.generate is not None:
        return write(options)
    return train(start_run(options, arguments), options.out)


def start_run(options: argparse.Namespace, arguments: Sequence[str] | None) -> Run:
    """Build a new run, or the one to resume: there, what the command line leaves open is as it was."""
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


def train(run: Run, out: Path) -> int:
    """Train to the last epoch; report on the way; leave metrics, a figure and a checkpoint."""
    settings, vocabulary = run.settings, run.corpus.vocabulary
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
            except Stopped:  # the epoch is half done: forget it, so that resuming gives the same numbers
                save_checkpoint(out / "checkpoint.pt", before)
                code = 130
                break
            bar.set_postfix(epoch=epoch, perplexity=f"{run.perplexity[-1]:.3f}", refresh=False)
            if epoch % settings.report_every == 0 or epoch == settings.epochs:
                for text in run.write_samples(prefixes):
                    bar.write(f"epoch {epoch}, perplexity {run.perplexity[-1]:.3f}: {text}")
                save_checkpoint(out / "checkpoint.pt", run.freeze())
        write_metrics(out / "metrics.json", run)
        if run.perplexity:
            text = str(run.samples[-1]["text"]) if run.samples else ""
            title = f"{settings.cell}, {settings.sampling} sampling, {settings.optimizer}"
            plot_perplexity(out / "perplexity.png", run.perplexity, title, frequency_perplexity(run.corpus), text)
    _say_goodbye(run, out, stopped=code == 130)
    return code


def write(options: argparse.Namespace) -> int:
    """Continue a prefix with a trained model."""
    checkpoint = load_checkpoint(options.checkpoint or options.out / "checkpoint.pt")
    vocabulary = Vocabulary(checkpoint.vocabulary)
    here = settings_of(options)
    settings = replace(Settings(**checkpoint.settings), backend=here.backend, device=here.device)
    model = build_model(settings, len(vocabulary))
    model.load_state_dict(checkpoint.model)
    print(generate(model, vocabulary, options.generate))
    return 0


def _progress_bar(run: Run) -> "tqdm[NoReturn]":
    """Make a bar that counts characters, so that its rate is characters a second."""
    return tqdm(
        total=run.settings.epochs * run.characters_per_epoch,
        initial=len(run.perplexity) * run.characters_per_epoch,
        unit="char",
        unit_scale=True,
    )


def _say_goodbye(run: Run, out: Path, *, stopped: bool) -> None:
    epochs = len(run.perplexity)
    if run.perplexity:
        print(f"perplexity {run.perplexity[-1]:.3f} on the training text after {epochs} epochs, {run.seconds:.0f} s")
        print(conclude(run))
        print(f"figure {out / 'perplexity.png'}, numbers {out / 'metrics.json'}, model {out / 'checkpoint.pt'}")
    if stopped:
        print(f"stopped with {epochs} epochs done; go on with: python examples/lyrics.py --resume --out {out}")


if __name__ == "__main__":
    sys.exit(main())
