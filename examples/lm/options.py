"""The command line of lyrics.py, and of experiments that compare several such models."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from examples.common.argument_types import device_name, positive, resolve_device, seed
from examples.common.parser import BACKENDS, HelpFormatter, Parser, experiment_parser

from .settings import DEFAULT_LR, INITS, NAMES, Settings

QUICK = {"epochs": 40, "hidden": 32, "steps": 12, "batch_size": 8, "max_chars": 600}


def build_parser(doc: str | None = None) -> Parser:
    """Make the parser of lyrics.py; the defaults are those of the published experiment. `doc`: description for the help."""
    parser = Parser(
        prog="lyrics.py",  # not __main__.py under `python -m examples`
        description=(doc or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False, small=QUICK,
    )  # fmt: skip
    add = parser.add_argument
    add(
        "--cell",
        choices=("rnn", "gru", "gru-before", "lstm"),
        default="gru",
        help="gru: reset gate after the recurrent product (torch.nn); gru-before: before it (Cho et al. 2014)",
    )
    add("--backend", choices=BACKENDS, default="auto", help="backend of the recurrent layers")
    add(
        "--sampling",
        choices=("consecutive", "random"),
        default="consecutive",
        help="consecutive carries the state from minibatch to minibatch, random starts each from zero",
    )
    add("--optimizer", choices=("sgd", "adam"), default="sgd", help="optimiser")
    add(
        "--lr",
        type=positive(float),
        default=None,
        help="learning rate; without it 100 for sgd, 0.01 for adam. (100, because every gradient is clipped: "
        "a norm of 0.01 times 100 is a step of length 1)",
    )
    add("--clip", type=positive(float), default=0.01, help="largest global norm of the gradients")
    add("--epochs", type=positive(int), default=160, help="passes over the text, including those before --resume")
    add("--hidden", type=positive(int), default=256, help="units of every layer")
    add("--layers", type=positive(int), default=1, help="recurrent layers")
    add(
        "--init",
        choices=INITS,
        default="normal",
        help="initial recurrent weights: normal: N(0, 0.01^2); xavier: N(0, 1/hidden), needed to train many layers",
    )
    add("--steps", type=positive(int), default=35, help="steps of backpropagation through time")
    add("--batch-size", type=positive(int), default=32, help="sequences per minibatch")
    add(
        "--corpus",
        default="default",
        metavar="FILE|default|published",
        help="a UTF-8 text file or a zip of one; default: the lyrics in examples/data; published: the textbook's, downloaded",
    )
    add("--max-chars", type=positive(int), default=10_000, help="number of characters to read")
    add("--device", type=device_name, default="auto", help="auto, cpu, cuda or cuda:N; auto: cuda if there is one")
    add("--seed", type=seed, default=0, help="random seed of the weights and of random sampling")
    small = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in QUICK.items())
    add("--quick", action="store_true", help=f"a run of seconds: {small}")
    add("--report-every", type=positive(int), default=40, help="epochs between generated samples, and checkpoints")
    add(
        "--out",
        type=Path,
        default=Path("out/lyrics"),
        metavar="DIR",
        help="where metrics.json, perplexity.png and checkpoint.pt go",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--resume",
        action="store_true",
        help="continue from DIR/checkpoint.pt with its options; options given on the command line must agree",
    )
    either.add_argument(
        "--generate", metavar="PREFIX", default=None, help="do not train; continue PREFIX with the trained model"
    )
    add("--checkpoint", type=Path, default=None, metavar="FILE", help="for --generate; without it DIR/checkpoint.pt")
    return parser


def comparison_parser(doc: str | None, sizes: Mapping[str, int], **options: Any) -> Parser:
    """Make an `experiment_parser` with --epochs, --hidden and --max-chars, whose defaults are in `sizes`."""
    parser = experiment_parser(doc, **options)
    add = parser.add_argument
    add("--epochs", type=positive(int), default=sizes["epochs"], help="passes over the text")
    add("--hidden", type=positive(int), default=sizes["hidden"], help="units of every layer")
    add("--max-chars", type=positive(int), default=sizes["max_chars"], help="number of characters to read")
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings from parsed options, with the default learning rate and the device filled in."""
    values = {name: getattr(options, name) for name in NAMES}
    values["lr"] = options.lr if options.lr is not None else DEFAULT_LR[options.optimizer]
    values["device"] = str(resolve_device(options.device))
    return Settings(**values)
