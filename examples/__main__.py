"""Run an example, `python -m examples NAME [options]`, or list them: `python -m examples`."""

import importlib
import sys
from collections.abc import Sequence

from examples.common.catalogue import scripts
from examples.common.errors import UserError
from examples.common.program import program


@program("examples")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example that the first argument names with the others, and return its exit code; without one, list them."""
    name, *options = (sys.argv[1:] if arguments is None else arguments) or [""]
    catalogue = scripts()
    if name in catalogue:
        code: int = importlib.import_module(f"examples.{name}").main(options)
        return code
    if name not in ("", "-h", "--help"):
        raise UserError(f"expected one of {', '.join(catalogue)}, got {name}")
    width = max(map(len, catalogue))
    for example, description in catalogue.items():
        print(f"{example:<{width}}  {description}")
    print("\npython -m examples NAME --help explains one; --quick runs it in seconds.")
    print("python -m examples.report runs all experiments and writes one page with the figures.")
    print("python -m examples.figures draws the figures again from the results of earlier runs.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
