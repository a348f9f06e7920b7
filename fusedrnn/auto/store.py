"""The file of decisions of a machine, in the user's cache folder: one reader or writer at a time, always whole.

A measurement that is begun is noted before it starts. A process that dies in it leaves the note, and after `ATTEMPTS` such notes
nobody tries again: a kernel that ends its process must not end it at every start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fusedrnn.auto.decision import Decision
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine
from fusedrnn.auto.settings import FOLDER_VARIABLE

logger = logging.getLogger("fusedrnn")

FORMAT = 1
ATTEMPTS = 3
SHIPPED = Path(__file__).parent / "shipped"
"""Files of decisions that come with the package."""


@dataclass
class Decisions:
    """What a file holds.

    Attributes:
        decisions: by the name of a kind.
        begun: measurements that were begun and did not end, counted by the name of a kind.
        wrong: what the kernels computed wrongly on this machine, in words, by the name of a kind.
    """

    decisions: dict[str, Decision] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def folder() -> Path:
    """FUSEDRNN_CACHE_DIR, or `fusedrnn` in the user's cache folder: that of XDG_CACHE_HOME or ~/.cache.

    Raises:
        OSError: it is in a home folder that does not exist.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    wanted = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "fusedrnn"
    try:
        return wanted.expanduser()
    except RuntimeError as error:
        raise OSError(f"{wanted}: expected a home folder, got none; {FOLDER_VARIABLE} names another one") from error


def path_of(machine: Machine) -> Path:
    """The user's file for a machine. Raises OSError as `folder`."""
    return folder() / f"{machine.name}.json"


def load(machine: Machine) -> Decisions:
    """What the package ships for a machine and what the user's file adds; the file wins. A file that is none counts as empty."""
    shipped = _read(SHIPPED / f"{machine.name}.json", machine)
    try:
        own = _read(path_of(machine), machine)
    except OSError as error:
        own = _ignored(error)
    return Decisions(shipped.decisions | own.decisions, own.begun, shipped.wrong | own.wrong)


def begin(machine: Machine, kind: Kind) -> None:
    """Note that a measurement begins."""
    kept = _read(path_of(machine), machine)
    kept.begun[str(kind)] = kept.begun.get(str(kind), 0) + 1
    _write(machine, kept)


def end(machine: Machine, kind: Kind, decision: Decision | None, wrong: str | None = None) -> None:
    """Keep a decision; None only takes the note of the beginning back. `wrong`: what the kernels computed wrongly."""
    kept = _read(path_of(machine), machine)
    kept.begun.pop(str(kind), None)
    if decision is not None:
        kept.decisions[str(kind)] = decision
    if wrong is not None:
        kept.wrong[str(kind)] = wrong
    _write(machine, kept)


def clear(machine: Machine, kind: Kind) -> None:
    """Forget that a kind was computed wrongly or did not end, to try again."""
    kept = _read(path_of(machine), machine)
    kept.begun.pop(str(kind), None)
    kept.wrong.pop(str(kind), None)
    _write(machine, kept)


@contextlib.contextmanager
def locked(machine: Machine, timeout: float) -> Iterator[None]:
    """Hold the lock of a machine's file; the system releases it when the process ends.

    Raises:
        TimeoutError: another process held it all the time.
        OSError: the folder cannot be written.
    """
    import filelock

    path = path_of(machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=-1 if math.isinf(timeout) else max(0.0, timeout))
    except filelock.Timeout as error:
        raise TimeoutError(f"{path}: expected the lock within {timeout:.0f} s, got none") from error
    except NotImplementedError as error:  # a file system without locks
        raise OSError(f"{path}: expected a file system with locks, got none: {error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.release()


def _read(path: Path, machine: Machine) -> Decisions:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Decisions()
    except (OSError, UnicodeDecodeError) as error:
        return _ignored(f"{path}: {error}")
    try:
        given = json.loads(text)
        if given["format"] != FORMAT or given["machine"] != _named(machine):
            raise ValueError(f"expected format {FORMAT} and the machine {_named(machine)}, got others")
        decisions = {str(kind): Decision.from_dict(one) for kind, one in given["decisions"].items()}
        begun = {str(kind): int(count) for kind, count in given["begun"].items()}
        wrong = {str(kind): str(what) for kind, what in given["wrong"].items()}
        return Decisions(decisions, begun, wrong)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return _ignored(f"{path}: {error}")


def _ignored(why: object) -> Decisions:
    _say_once(f"expected a file of decisions, got none: {why}")
    return Decisions()


def attempt(write: Callable[..., None], *arguments: Any) -> None:
    """Write to the file, or say why not and go on without."""
    try:
        write(*arguments)
    except OSError as error:
        not_kept(error)


def not_kept(error: OSError) -> None:
    """Say, once, that decisions hold for this process only."""
    _say_once(f"decisions are not kept: {type(error).__name__}: {error}")


@cache
def _say_once(text: str) -> None:
    logger.warning("auto: %s", text)


def _named(machine: Machine) -> dict[str, Any]:
    return json.loads(json.dumps(machine._asdict()))  # type: ignore[no-any-return]


def _write(machine: Machine, kept: Decisions) -> None:
    """Replace the file at once: a reader finds the old one or the new one, whole."""
    path = path_of(machine)
    told = {
        "format": FORMAT,
        "machine": _named(machine),
        "wrong": kept.wrong,
        "begun": kept.begun,
        "decisions": {kind: decision.to_dict() for kind, decision in sorted(kept.decisions.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(told, file, indent=1, allow_nan=False)
            file.write("\n")
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
