"""Run the programs of a grid concurrently in Triton's interpreter: one forked process per program, tensors in shared memory.

The interpreter alone runs programs one after another, so programs that wait for each other would hang. This checks the logic of
an exchange: what is read when, and who waits for whom. It cannot show errors of memory order, which x86 hides and a GPU does not.
"""

import multiprocessing
import os
import time

import torch
from triton.runtime import interpreter

LIMIT_S = 60


def program():
    """Which program this process runs."""
    return interpreter.interpreter_builder.grid_idx[0]


class Concurrent:
    """Replaces `launch.start`. ``delays``: seconds a program sleeps before it begins; ``killed``: programs that never begin.

    ``grids`` records the number of programs of every launch, ``cooperative`` whether its programs wait for each other.
    """

    def __init__(self, delays=None, killed=()):
        self.delays, self.killed = delays or {}, killed
        self.grids, self.cooperative = [], []

    def __call__(self, kernel, programs, cooperative, arguments, options):
        self.grids.append(programs)
        self.cooperative.append(cooperative)
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                argument.share_memory_()
        context = multiprocessing.get_context("fork")
        started = [
            context.Process(target=self._program, args=(index, programs, kernel, arguments, options), daemon=True)
            for index in range(programs)
        ]
        for process in started:
            process.start()
        end = time.monotonic() + LIMIT_S
        for process in started:
            process.join(max(0.0, end - time.monotonic()))
        hung = [index for index, process in enumerate(started) if process.is_alive()]
        for index in hung:
            started[index].kill()
            started[index].join()
        codes = [process.exitcode for process in started]
        assert not hung, f"programs {hung} of {programs} hung"
        assert not any(codes), f"exit codes {codes}"

    def _program(self, index, programs, kernel, arguments, options):
        if index in self.killed:
            os._exit(0)
        time.sleep(self.delays.get(index, 0.0))
        builder = interpreter.interpreter_builder
        builder.set_grid_dim = lambda *_: setattr(builder, "grid_dim", (programs, 1, 1))
        builder.set_grid_idx = lambda *_: setattr(builder, "grid_idx", (index, 0, 0))
        interpreter.GridExecutor._restore_args_dev = lambda *_, **__: None  # the results are in place already
        code = 1
        try:
            kernel[(1,)](*arguments, **options)
            code = 0
        finally:
            os._exit(code)  # no clean-up of the test run that this process is a copy of
