"""Programs that run beside this one and tell of their progress through a pipe."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.measuring.records import ROOT

VARIABLE = "FUSEDRNN_PROGRESS"  # holds the descriptor of the pipe's end
TICK_S = 0.25  # the longest time for which `listened` waits

Message = dict[str, Any]


@cache
def _parent() -> "Connection[Message, Message]":
    return Connection(int(os.environ[VARIABLE]), readable=False)


def tell(message: Message) -> None:
    """In the child: send the parent a message; does nothing without a parent."""
    if VARIABLE in os.environ:
        _parent().send(message)


class Child:
    """A command in its own process group; what it prints is kept for `tail`."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.pipe, theirs = Pipe(duplex=False)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_close`
        end = theirs.fileno()
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**environment, VARIABLE: str(end)}, pass_fds=(end,), stdin=subprocess.DEVNULL,
            stdout=self._printed, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        theirs.close()

    def tail(self, characters: int = 2000) -> str:
        """The end of what it has printed."""
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - characters))
        return self._printed.read().decode(errors="replace")

    def signal(self) -> None:
        """Kill it and what it has started, without waiting."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> int:
        """Kill it and what it has started; its exit code, negative where a signal ended it."""
        self.signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        return self._close()

    def end(self) -> int:
        """Wait for one that has closed its pipe; its exit code."""
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return self.kill()
        return self._close()

    def _close(self) -> int:
        self.pipe.close()
        self._printed.close()
        return self._process.returncode if self._process.returncode is not None else -signal.SIGKILL


def listened(children: list[Child], until: float) -> Iterator[tuple[Child, Message | None] | None]:
    """What children tell, until all have ended or the clock (`time.monotonic`) says `until`.

    (child, message), with None for a message where the child has ended; and None alone at least every `TICK_S`. The caller may
    change the list between two of them.
    """
    while children and time.monotonic() < until:
        for pipe in wait([child.pipe for child in children], max(0.0, min(TICK_S, until - time.monotonic()))):
            for child in [child for child in children if child.pipe is pipe]:
                try:
                    message = child.pipe.recv()
                except (EOFError, OSError):
                    message = None
                yield child, message
        yield None
