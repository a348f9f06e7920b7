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
