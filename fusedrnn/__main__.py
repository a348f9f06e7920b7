"""Say what is there and what "auto" has decided, or measure ahead.

python -m fusedrnn info
python -m fusedrnn tune --cell lstm --hidden 512 --batch 64 --steps 256
python -m fusedrnn tune --check
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from fusedrnn.auto import report, settings, settle, terminal
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import machine_of
from fusedrnn.auto.options import NAME, device_of, kinds, parser
from fusedrnn.auto.tune import checked, decided
from fusedrnn.backends.choice import requested
from fusedrnn.precision import allow_rnn_tf32


def tune(wanted: list[Kind], device: torch.device, *, check: bool, again: bool) -> int:
    """Measure, or check; the exit status."""
    places = [(device, kind) for kind in wanted]
    with _progress():
        if check:
            verdicts = {str(kind): verdict for (_, kind), verdict in checked(places, terminal.show).items()}
        else:
            found = decided(places, again=again, say=terminal.show)
    if check:
        print(report.verdict_table(verdicts, terminal.width()))
        return 0 if all(verdict.verdict == "right" for verdict in verdicts.values()) else 1
    print(report.decision_table({str(kind): decision for (_, kind), decision in found.items()}, terminal.width()))
    print(f"file of decisions: {report.place(machine_of(device))}")
    return 0 if settle.wrong_on(device) is None else 1


@contextmanager
def _progress() -> Iterator[None]:
    """Within the block a bar may be shown; after it, it is removed, and messages are printed."""
    try:
        with terminal.messages() as told:
            yield
    finally:
        terminal.clear()
        for line in told:
            _complain(line)


def _complain(text: object) -> None:
    print(f"{NAME}: {text}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status."""
    made = parser(__doc__)
    asked: Any = made.parse_args(arguments)
    if asked.command is None:
        made.print_help(sys.stderr)
        return 2
    try:
        for read in (settings.mode, settings.budget_left, lambda: requested(None)):
            read()  # an environment variable, which may have a wrong value
        if asked.command == "tune":
            wanted, device = kinds(asked), device_of(asked.device, check=asked.check)
    except ValueError as error:
        _complain(error)
        return 2
    if asked.command == "info":
        print(report.info(terminal.width()))
        return 0
    with allow_rnn_tf32(not asked.no_tf32):
        return tune(wanted, device, check=asked.check, again=asked.again)


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:  # end as the signal does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BrokenPipeError:  # the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
