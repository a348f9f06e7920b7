"""Jobs in a child process, each with a time limit: a job that hangs or crashes costs only itself.

The child is started once and keeps its state (imports, a GPU's context) from job to job; after a crash or a kill the next job
gets a new one. A start takes seconds of imports; it has its own limit and counts for no job.
"""

import importlib
import multiprocessing
import time
from contextlib import suppress
from typing import Any

START_S = 60.0  # a child that has not started after this long never will
END_S = 5.0  # for a child to end, and for a killed one to be gone
Task = tuple[str, str, tuple[Any, ...]]  # a module, a function of it, its arguments; all of them picklable


class JobError(RuntimeError):
    """A job that gave no answer: it raised, or it is `lost`: its process died, or was killed because it was `late`."""

    def __init__(self, message: str, *, late: bool = False, lost: bool = False) -> None:
        super().__init__(message)
        self.late, self.lost = late, lost


def _answered(task: Task) -> tuple[bool, Any]:
    """True and the result, or False and a message."""
    module, function, arguments = task
    try:
        return True, getattr(importlib.import_module(module), function)(*arguments)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


def _serve(pipe: Any, first: Task | None) -> None:
    """In the child: say that it is there, then answer tasks."""
    pipe.send((True, None) if first is None else _answered(first))
    while (task := pipe.recv()) is not None:
        pipe.send(_answered(task))


class Worker:
    """A child process for jobs; each new one does `first` before it takes any."""

    def __init__(self, first: Task | None = None) -> None:
        self._first = first
        self._process: Any = None
        self._pipe: Any = None

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        return None if self._process is None else int(self._process.pid)

    def start(self, limit_s: float = START_S) -> None:
        """Start the child unless it runs, and wait until it can take a job.

        Raises:
            JobError: it took longer than `limit_s`, died, or failed in what it does first.
        """
        if self._process is not None:
            return
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._first), daemon=True)
        self._process.start()
        theirs.close()
        try:
            came, message = self._answer(min(limit_s, START_S))
        except JobError as failure:  # which is not the fault of the job that it was started for
            raise JobError(f"no process for it: {failure}", late=failure.late) from None
        if not came:
            self.stop()
            raise JobError(message)

    def run(self, module: str, function: str, arguments: tuple[Any, ...], limit_s: float, total_s: float = 1e9) -> Any:
        """What `function` of `module` returns for `arguments`, all of them picklable.

        Raises:
            JobError: it raised, killed its process or took longer than `limit_s`, or longer than `total_s` with the child's start.
        """
        begun = time.monotonic()
        self.start(total_s)
        with suppress(OSError):  # it died: the answer says so
            self._pipe.send((module, function, arguments))
        worked, result = self._answer(min(limit_s, total_s - (time.monotonic() - begun)))
        if not worked:
            raise JobError(result)
        return result

    def _answer(self, limit_s: float) -> Any:
        limit_s = max(0.0, limit_s)
        try:
            if self._pipe.poll(limit_s):
                return self._pipe.recv()
        except (EOFError, OSError):
            code = self.stop()
            raise JobError(f"expected an answer, got a process that died with exit code {code}", lost=True) from None
        self.stop(hung=True)
        raise JobError(f"expected an answer within {limit_s:.0f} s, got none: killed", late=True, lost=True)

    def stop(self, *, hung: bool = False) -> int | None:
        """End the child, if there is one, and say how it ended; `hung`: without waiting for it."""
        if self._process is None:
            return None
        with suppress(OSError):  # it died
            self._pipe.send(None)
        self._process.join(0.0 if hung else END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(END_S)  # one that waits inside the driver may outlive this
        self._pipe.close()
        code, self._process = self._process.exitcode, None
        return int(code) if code is not None else None
