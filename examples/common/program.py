"""Exit codes and error messages of the scripts."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from fusedrnn import BackendUnavailableError

from .errors import UserError


class Main(Protocol):
    """The type of a decorated `main`."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run with these arguments, by default those of the command line; return the exit code."""


def program(name: str) -> Callable[[Callable[[Sequence[str] | None], int | None]], Main]:
    """Decorate a `main(arguments)` to return its code or 0; 2 after a user's error, printed in one line; 130 after Ctrl-C.

    Args:
        name: prefix of the error message, such as "polynomial.py".
    """

    def decorate(main: Callable[[Sequence[str] | None], int | None]) -> Main:
        @functools.wraps(main)
        def run(arguments: Sequence[str] | None = None) -> int:
            try:
                return main(arguments) or 0
            except (UserError, BackendUnavailableError) as error:
                print(f"{name}: error: {error}", file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                print(f"{name}: stopped", file=sys.stderr)
                return 130

        return run

    return decorate
