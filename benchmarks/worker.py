"""Jobs in a child process, each with a time limit: a job that hangs or crashes costs itself and nothing else.

The child is started once and keeps its state (imports, a GPU's context) from job to job; after a crash or a kill the next job
gets a new one.
"""

from __future__ import annotations

import importlib
import multiprocessing
from contextlib import suppress
from typing import Any


class JobError(RuntimeError):
    """A job that gave no answer: it hung, or its process died."""


def _serve(pipe: Any) -> None:
    """In the child: answer (module, function, arguments) with (True, result) or (False, message)."""
    while (job := pipe.recv()) is not None:
        module, function, arguments = job
        try:
            answer = (True, getattr(importlib.import_module(module), function)(*arguments))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        pipe.send(answer)


class Worker:
    """A child process for jobs."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Any = None

    def run(self, module: str, function: str, arguments: tuple[Any, ...], limit_s: float) -> Any:
        """What `function` of `module` returns for `arguments`, all of them picklable.

        Raises:
            JobError: it raised, took longer than `limit_s` or killed its process.
        """
        if self._process is None:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._pipe.send((module, function, arguments))
            if not self._pipe.poll(max(0.0, limit_s)):
                self.stop(hung=True)
                raise JobError(f"expected an answer within {limit_s:.0f} s, got none: killed")
            worked, result = self._pipe.recv()
        except (EOFError, OSError):
            code = self.stop()
            raise JobError(f"expected an answer, got a process that died with exit code {code}") from None
        if not worked:
            raise JobError(result)
        return result

    def stop(self, *, hung: bool = False) -> int | None:
        """End the child, if there is one, and say how it ended; `hung`: without waiting for it."""
        if self._process is None:
            return None
        with suppress(OSError):  # it died
            self._pipe.send(None)
        self._process.join(0.0 if hung else 5.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
        code, self._process = self._process.exitcode, None
        return int(code) if code is not None else None
