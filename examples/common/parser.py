"""The command line: one-line errors, and the common options of the experiments."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .argument_types import device_name, seed
from .errors import UserError

BACKENDS = ("auto", "reference", "aten", "triton")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError` with a one-line message.

    Args:
        small: defaults with --quick, by destination; options on the command line override them.
        options: arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, *, small: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.small = dict(small or {})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse the arguments, with the `small` defaults if --quick is given."""
        options = super().parse_args(args, namespace)
        if getattr(options, "quick", False):
            options = super().parse_args(args, argparse.Namespace(**self.small))
        return options

    def error(self, message: str) -> NoReturn:
        """Raise the message as a `UserError`."""
        raise UserError(message)


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the line breaks of the description, and show defaults, but not those of flags and of options that may be left out."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)


def experiment_parser(
    doc: str | None,
    *,
    out: str,
    quick: str,
    small: Mapping[str, Any] | None = None,
    fused: bool = True,
    device: bool = False,
) -> Parser:
    """Make a parser with --backend, --seed, --out, --quick and, with `device`, --device.

    Args:
        doc: docstring of the script, used as help text.
        out: name of the script, and of the default output folder in out/.
        quick: what --quick reduces, for the help text.
        small: defaults of further options with --quick.
        fused: whether the experiment uses a backend; if not, --backend is accepted and has no effect.
        device: whether the experiment can run on a GPU.
    """
    parser = Parser(
        prog=f"{out}.py",  # not __main__.py under `python -m examples`
        description=(doc or "").strip(), formatter_class=HelpFormatter, allow_abbrev=False, small=small,
    )  # fmt: skip
    add = parser.add_argument
    effect = "backend of the model" if fused else "accepted as in all examples; no effect: nothing here is recurrent"
    add("--backend", choices=BACKENDS, default="auto", help=effect)
    if device:
        add("--device", type=device_name, default="auto", help="auto, cpu, cuda or cuda:N; auto: cuda if there is one")
    add("--seed", type=seed, default=0, help="random seed")
    add("--out", type=Path, default=Path("out", out), metavar="DIR", help="folder for metrics.json and figures")
    add("--quick", action="store_true", help=f"a run of seconds: {quick}")
    return parser
