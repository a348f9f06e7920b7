"""Jobs for the worker: what a child process may do to its parent."""

import os
import time


def answer(number):
    return [number, os.getpid()]


def hang(seconds):
    time.sleep(seconds)


def crash(code):
    os._exit(code)


def fail(message):
    raise RuntimeError(message)


def rows(key=None, error=None):
    if key is None:
        return []
    return [
        {"key": key, "peer": "ours", **({"error": error} if error else {"median_s": 1.0, "p20_s": 1.0, "p80_s": 1.0})}
    ]


_started = []


def slow_start(seconds):
    time.sleep(seconds)
    _started.append(seconds)


def started():
    return _started[0]
