"""Are the kernels right on this machine: their results on a short problem, held to the error budget."""

from __future__ import annotations

import torch

from fusedrnn.auto import parity
from fusedrnn.auto.errors import NotMeasuredError, of_kernels, of_torch
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.problem import Engine, Problem, exactly, problem, results
from fusedrnn.backends import dispatch, reference, triton
from fusedrnn.backends.rules import ENGINES
from fusedrnn.operators.layer import Rows

STEPS, SAMPLES = 16, 64
"""Most steps and samples of the short problem, whose truth is computed in float64, step by step."""


class Check:
    """A short problem of a kind of call, with the results of torch's own and the truth.

    Raises:
        NotMeasuredError: torch's own or the reference raises an error, or they disagree.
    """

    def __init__(self, kind: Kind, device: torch.device) -> None:
        self._tf32 = kind.tf32
        with of_torch():
            self._given = problem(kind, device, min(kind.steps, STEPS), min(kind.batch, SAMPLES))
            self._torchs = results(torchs_engine(self._given), self._given)
            self._truth = results(reference.run, exactly(self._given))
            unsound = parity.sound(self._torchs, self._truth, tf32=kind.tf32)
        if unsound is not None:
            raise NotMeasuredError(f"torch's own is wrong: {unsound}")

    def judge(self, rows: Rows) -> parity.Judged:
        """Compare the kernels, launched with `rows`.

        Raises:
            WrongResultError: they time out. KernelError: they raise. NotMeasuredError: there is no memory.
        """
        with of_kernels():
            got = kernels(self._given, rows)
            return parity.judge(got, self._torchs, self._truth, tf32=self._tf32)


def kernels(given: Problem, rows: Rows) -> list[tuple[str, torch.Tensor]]:
    """The results of the kernels, after an error that they report late has been raised."""
    from fusedrnn.kernels import launch

    device = given.call.input.device
    found = results(kernels_engine(rows), given)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # not the device: another thread may be capturing a graph
    launch.check(device)
    return found


def kernels_engine(rows: Rows) -> Engine:
    """The kernels, launched with `rows`."""
    return lambda call: triton.run(call, rows)


def torchs_engine(given: Problem) -> Engine:
    """What the backend "aten" runs the problem's call with."""
    return ENGINES[dispatch.decide(given.call, "aten").engine]
