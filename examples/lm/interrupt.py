"""Ctrl-C as a request that the training loop polls, instead of an exception at any point."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818  (not an error: the user asked for it)
    """Training was asked to stop."""


class StopRequest:
    """Set by the first Ctrl-C; the training loop checks it after every minibatch."""

    def __init__(self) -> None:
        self.made = False

    def check(self) -> None:
        """Raise `Stopped` if Ctrl-C was pressed."""
        if self.made:
            raise Stopped


@contextmanager
def stop_on_ctrl_c() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C into a request; a second one raises KeyboardInterrupt as usual.

    If the program was started with SIGINT ignored, for instance by nohup or in the background, it stays ignored.
    """
    request = StopRequest()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        request.made = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, previous)
