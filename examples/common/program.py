"""How every script ends: an exit code, and one line where something is wrong."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from fusedrnn import BackendUnavailableError

from .errors import UserError


class Main(Protocol):
    """What a script and a test call."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run with these arguments, None being the command line's; return the exit code."""


def program(name: str) -> Callable[[Callable[[Sequence[str] | None], int | None]], Main]:
    """Decorate a `main(arguments)`: it returns 0, 2 after a user's error (one line on stderr), 130 after Ctrl-C.

    Args:
        name: what stands before the error, such as "polynomial.py".
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
