"""Run a function in a thread of its own, so that nothing that is set for the caller's thread has an effect on it.

Autocast, grad and inference mode, hooks of saved tensors, dispatch and function modes, the default device and the tracing of
torch.compile belong to a thread. The function runs on the caller's stream, so that the memory that it leaves is the caller's next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


def isolated(function: Callable[[threading.Event], Value], device: torch.device) -> Value:
    """Call `function` in a new thread, and return what it returns or raise what it raises.

    It is given an event that is set when the caller is interrupted, and should then end soon: a thread that still runs when the
    process ends would abort it.
    """
    values: list[Value] = []
    errors: list[BaseException] = []
    stop, ended = threading.Event(), threading.Event()
    on_stream: Any = nullcontext()
    if device.type == "cuda":
        on_stream = torch.cuda.stream(torch.cuda.current_stream(device))  # also makes its device the current one

    def body() -> None:
        try:
            # backwards run in this thread: autograd's own may be waiting for the caller
            with on_stream, torch.autograd.set_multithreading_enabled(False):
                values.append(function(stop))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=body, name="fusedrnn-auto", daemon=True)
    try:
        thread.start()
        ended.wait()  # an interrupted `join` takes the thread for ended (Python 3.11)
    except BaseException:
        stop.set()
        if thread.ident is not None:
            ended.wait()
        raise
    thread.join()
    if not errors:
        return values.pop()
    error = errors.pop()
    try:
        raise error
    finally:
        del error  # else it, its traceback and this frame hold each other, and the buffers of the measurement
