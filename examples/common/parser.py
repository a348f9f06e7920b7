"""The command line: one-line errors, and the options that every experiment has."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .argument_types import device_name, seed
from .errors import UserError

BACKENDS = ("auto", "reference", "aten", "triton")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error of the examples."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as the user's error."""
        raise UserError(message)


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the description's lines, and name each default."""


def experiment_parser(
    doc: str | None, *, out: str, quick: str, backends: Sequence[str] = (), device: bool = False
) -> Parser:
    """Make a parser with --seed, --out and --quick, and where they apply --backend and --device.

    Args:
        doc: the script's docstring, which explains the experiment; it is the help text.
        out: name of the default output folder below out/.
        quick: what --quick makes smaller, for the help.
        backends: the choices of --backend, the first one the default; none: no such option.
        device: whether the experiment can run elsewhere than on the CPU.
    """
    parser = Parser(description=(doc or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False)
    add = parser.add_argument
    if backends:
        add("--backend", choices=tuple(backends), default=backends[0], help="who runs the model")
    if device:
        add("--device", type=device_name, default="auto", help="auto, cpu, cuda or cuda:N; auto: cuda if there is one")
    add("--seed", type=seed, default=0, help="of everything random")
    add("--out", type=Path, default=Path("out", out), metavar="DIR", help="where metrics.json and figures go")
    add("--quick", action="store_true", help=f"a run of seconds, for a first look and for tests: {quick}")
    return parser
