"""Programs that run beside this one and tell of their progress, a JSON object a line, through a pipe of their own."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.measuring.records import ROOT

VARIABLE = "FUSEDRNN_PROGRESS"
TICK_S = 0.25  # how often a caller gets a say while nothing is told

Message = dict[str, Any]


def tell(message: Message) -> None:
    """In the child: tell the parent; nothing where there is none."""
    if VARIABLE in os.environ:
        os.write(int(os.environ[VARIABLE]), (json.dumps(message) + "\n").encode())


class Child:
    """A command in a process group of its own; what it prints is kept for `tail`."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.pipe, theirs = os.pipe()
        os.set_blocking(self.pipe, False)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**environment, VARIABLE: str(theirs)}, pass_fds=(theirs,), stdin=subprocess.DEVNULL,
            stdout=self._printed, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._rest = b""

    def read(self) -> list[Message] | None:
        """What it has told since, or None when it has ended and told everything."""
        try:
            got = os.read(self.pipe, 1 << 20)
        except BlockingIOError:
            return []
        if not got:
            return None
        *lines, self._rest = (self._rest + got).split(b"\n")
        return [json.loads(line) for line in lines]

    def tail(self, characters: int = 2000) -> str:
        """The end of what it has printed."""
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - characters))
        return self._printed.read().decode(errors="replace")

    def signal(self) -> None:
        """Tell it, and whatever it has started, to end at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> int:
        """End it and whatever it has started; its exit code, negative where a signal ended it."""
        self.signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        self._close()
        return self._process.returncode if self._process.returncode is not None else -signal.SIGKILL

    def end(self) -> int:
        """Wait for one that has told everything; its exit code."""
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return self.kill()
        self._close()
        return self._process.returncode

    def _close(self) -> None:
        os.close(self.pipe)
        self._printed.close()


def listened(children: list[Child], until: float) -> Iterator[tuple[Child, Message | None] | None]:
    """What children tell, until all have ended or the clock (`time.monotonic`) says `until`.

    (child, message), with None for a message where the child has ended; and None alone at least every `TICK_S`. Children may be
    added to the list and removed from it meanwhile.
    """
    while children and time.monotonic() < until:
        with selectors.DefaultSelector() as selector:
            for child in children:
                selector.register(child.pipe, selectors.EVENT_READ, child)
            ready = selector.select(max(0.0, min(TICK_S, until - time.monotonic())))
        for key, _ in ready:
            child = key.data
            messages = child.read() if child in children else []
            if messages is None:
                yield child, None
            else:
                for message in messages:
                    yield child, message
        yield None
