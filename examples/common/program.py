"""Exit codes and error messages of the scripts."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from .errors import UserError

EXTRA = ("matplotlib", "pandas", "PIL", "pooch", "scipy", "sklearn", "tqdm")  # imported from the extra "examples"


class Main(Protocol):
    """The type of a decorated `main`."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run with these arguments, by default those of the command line; return the exit code."""


def program(name: str) -> Callable[[Callable[[Sequence[str] | None], int | None]], Main]:
    """Decorate a `main(arguments)` to return its code or 0; 2 after a user's error, printed in one line; 130 after Ctrl-C.

    A user's errors are `UserError`, an explicit choice of a backend that cannot run, and a package of the extra "examples"
    that is not installed.

    Args:
        name: prefix of the error message, such as "polynomial.py".
    """

    def decorate(main: Callable[[Sequence[str] | None], int | None]) -> Main:
        @functools.wraps(main)
        def run(arguments: Sequence[str] | None = None) -> int:
            try:
                return main(arguments) or 0
            except UserError as error:
                message = str(error)
            except ModuleNotFoundError as error:
                package = (error.name or "").partition(".")[0]
                if package not in EXTRA:
                    raise
                message = f"expected the package {package}, got none: python -m pip install '.[examples]' installs it"
            except KeyboardInterrupt:
                print(f"{name}: stopped", file=sys.stderr)
                return 130
            except _backend_errors() as error:
                message = str(error)
            print(f"{name}: error: {message}", file=sys.stderr)
            return 2

        return run

    return decorate


def _backend_errors() -> tuple[type[Exception], ...]:
    """Return fusedrnn's error for users if the package is imported: it takes seconds to import for a message."""
    package = sys.modules.get("fusedrnn")
    return (package.BackendUnavailableError,) if package else ()
