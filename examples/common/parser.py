"""The command line: one-line errors, and the options that every experiment has."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .argument_types import device_name, seed
from .errors import UserError

BACKENDS = ("auto", "reference", "aten", "triton")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error of the examples.

    Args:
        small: the defaults under --quick, by destination; what the command line names wins over them.
        options: for `argparse.ArgumentParser`.
    """

    def __init__(self, *, small: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.small = dict(small or {})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse, with the small defaults if --quick is given."""
        options = super().parse_args(args, namespace)
        if getattr(options, "quick", False):
            options = super().parse_args(args, argparse.Namespace(**self.small))
        return options

    def error(self, message: str) -> NoReturn:
        """Raise the message as the user's error."""
        raise UserError(message)


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the description's lines, and name each default."""


def experiment_parser(
    doc: str | None,
    *,
    out: str,
    quick: str,
    small: Mapping[str, Any] | None = None,
    fused: bool = True,
    device: bool = False,
) -> Parser:
    """Make a parser with --backend, --seed, --out and --quick, and where it applies --device.

    Args:
        doc: the script's docstring, which explains the experiment; it is the help text.
        out: name of the default output folder below out/.
        quick: what --quick makes smaller, for the help.
        small: the defaults of further options under --quick.
        fused: whether anything in the experiment runs on a backend; if not, --backend is taken and changes nothing.
        device: whether the experiment can run elsewhere than on the CPU.
    """
    parser = Parser(description=(doc or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False, small=small)
    add = parser.add_argument
    runs = (
        "who runs the model" if fused else "taken as by every example; nothing here is recurrent, so all give the same"
    )
    add("--backend", choices=BACKENDS, default="auto", help=runs)
    if device:
        add("--device", type=device_name, default="auto", help="auto, cpu, cuda or cuda:N; auto: cuda if there is one")
    add("--seed", type=seed, default=0, help="of everything random")
    add("--out", type=Path, default=Path("out", out), metavar="DIR", help="where metrics.json and figures go")
    add("--quick", action="store_true", help=f"a run of seconds, for a first look and for tests: {quick}")
    return parser
