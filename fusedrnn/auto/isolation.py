"""Run a function in a thread of its own, so that nothing that is set for the caller's thread has an effect on it.

Autocast, grad and inference mode, hooks of saved tensors, dispatch and function modes, the default device, the tracing of
torch.compile and the current stream all belong to a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

Value = TypeVar("Value")


def isolated(function: Callable[[threading.Event], Value], device: torch.device) -> Value:
    """Call `function` in a new thread, whose current device is `device`, and return what it returns or raise what it raises.

    It is given an event that is set when the caller is interrupted, and should then end soon: a thread that still runs when the
    process ends would abort it.
    """
    values: list[Value] = []
    errors: list[BaseException] = []
    stop, ended = threading.Event(), threading.Event()

    def body() -> None:
        try:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            values.append(function(stop))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=body, name="fusedrnn-auto", daemon=True)
    thread.start()
    try:
        ended.wait()  # an interrupted `join` takes the thread for ended (Python 3.11)
    except BaseException:
        stop.set()
        ended.wait()
        raise
    finally:
        thread.join()
    if errors:
        raise errors[0]
    return values[0]
