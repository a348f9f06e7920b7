"""The command line."""

import argparse
from pathlib import Path

from examples.common.argument_types import device_name, positive, resolve_device, seed
from examples.common.parser import BACKENDS, HelpFormatter, Parser

from .model import INITS
from .optimizers import DEFAULT_LR
from .settings import NAMES, Settings

QUICK = {"epochs": 40, "hidden": 32, "steps": 12, "batch_size": 8, "max_chars": 600}


def build_parser(doc: str | None = None) -> Parser:
    """Describe every option; the defaults are the published experiment. `doc` explains it in the help."""
    parser = Parser(description=(doc or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False, small=QUICK)
    add = parser.add_argument
    add(
        "--cell",
        choices=("rnn", "gru", "gru-before", "lstm"),
        default="gru",
        help="gru: reset gate after the recurrent product (torch.nn); gru-before: before it (Cho et al. 2014)",
    )
    add("--backend", choices=BACKENDS, default="auto", help="who runs the cell")
    add(
        "--sampling",
        choices=("consecutive", "random"),
        default="consecutive",
        help="consecutive carries the state from minibatch to minibatch, random starts each from zero",
    )
    add("--optimizer", choices=("sgd", "adam"), default="sgd", help="how the gradients become a step")
    add(
        "--lr",
        type=positive(float),
        default=None,
        help="learning rate; None: 100 for sgd, 0.01 for adam. (100, because clipping acts on every step: "
        "a gradient of norm 0.01 times 100 is a step of length 1)",
    )
    add("--clip", type=positive(float), default=0.01, help="largest global norm of the gradients")
    add(
        "--epochs", type=positive(int), default=160, help="passes over the text, earlier ones of a resumed run included"
    )
    add("--hidden", type=positive(int), default=256, help="width of the hidden state")
    add("--layers", type=positive(int), default=1, help="recurrent layers")
    add(
        "--init",
        choices=INITS,
        default="normal",
        help="of the recurrent weights: normal: N(0, 0.01^2); xavier: N(0, 1/hidden), with which many layers train",
    )
    add("--steps", type=positive(int), default=35, help="characters that gradients flow back through")
    add("--batch-size", type=positive(int), default=32, help="sequences a minibatch")
    add(
        "--corpus",
        default="default",
        metavar="FILE|default|published",
        help="a UTF-8 text or a zip with one; default: ours; published: the textbook's, downloaded",
    )
    add("--max-chars", type=positive(int), default=10_000, help="how much of the corpus to read")
    add("--device", type=device_name, default="auto", help="auto, cpu, cuda or cuda:N; auto: cuda if there is one")
    add("--seed", type=seed, default=0, help="of the weights and of random sampling")
    small = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in QUICK.items())
    add("--quick", action="store_true", help=f"a run of seconds, for a first look and for tests: {small}")
    add("--report-every", type=positive(int), default=40, help="epochs between samples of text, and checkpoints")
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
        help="go on from DIR/checkpoint.pt; options not given are taken from there, and those given must agree",
    )
    either.add_argument(
        "--generate", metavar="PREFIX", default=None, help="do not train: continue PREFIX with a trained model"
    )
    add("--checkpoint", type=Path, default=None, metavar="FILE", help="for --generate; None: DIR/checkpoint.pt")
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """Pick the settings out of the options and fill in what depends on others."""
    values = {name: getattr(options, name) for name in NAMES}
    values["lr"] = options.lr if options.lr is not None else DEFAULT_LR[options.optimizer]
    values["device"] = str(resolve_device(options.device))
    return Settings(**values)
