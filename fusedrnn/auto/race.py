"""Which is faster: the kernels, with which rows of the launch table, or torch's own."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.auto import clock, parity
from fusedrnn.auto.check import kernels, kernels_engine, torchs_engine
from fusedrnn.auto.errors import NotMeasuredError, WrongResultError, of_kernels, of_torch
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.problem import bytes_of, exactly, problem, results
from fusedrnn.backends import reference
from fusedrnn.operators.layer import Rows

FEWEST_STEPS = 16
"""A problem is not made shorter than this for lack of memory."""


class Race:
    """A problem of the kind's size, with the results of torch's own.

    Raises:
        NotMeasuredError: torch's own raises an error, or there is no memory.
    """

    def __init__(self, kind: Kind, device: torch.device) -> None:
        self._device, self._kind = device, kind
        with of_torch():
            steps = fitting_steps(kind, free_bytes(device))
            self._given = problem(kind, device, steps, kind.batch)
            self._torch = torchs_engine(self._given)
            self._torchs = results(self._torch, self._given)

    def against_torch(self, rows: Rows) -> tuple[float, float]:
        """Seconds of a call with the kernels, launched with `rows`, and with torch's own.

        Raises:
            As `check`.
        """
        self.check(rows)
        return clock.compared(self._kernels(rows), of_torch()(lambda: results(self._torch, self._given)), self._device)

    def against(self, rows: Rows, others: Rows) -> tuple[float, float]:
        """Seconds of a call with the kernels, launched with `rows` and with `others`.

        Raises:
            As `check`.
        """
        self.check(rows)
        return clock.compared(self._kernels(rows), self._kernels(others), self._device)

    def check(self, rows: Rows) -> None:
        """Run twice. The results must be the same in every bit, and near those of torch's own.

        Raises:
            WrongResultError: they are not. KernelError: the kernels raise. NotMeasuredError: there is no memory, or torch's own
                is wrong.
        """
        with of_kernels():
            first, second = kernels(self._given, rows), kernels(self._given, rows)
        for (name, one), (_, other) in zip(first, second, strict=True):
            if not torch.equal(one, other) and bool(one.isfinite().all()):
                raise WrongResultError(f"{name}: expected the same bits of two runs, got others")
        limit = 2 * parity.coarse(self._kind.torch_dtype, tf32=self._kind.tf32)
        pairs = zip(first, self._torchs, strict=True)
        if any(not parity.relative_error(one, expected) <= limit for (_, one), (_, expected) in pairs):
            self._arbitrate(first)

    def _arbitrate(self, ours: list[tuple[str, Tensor]]) -> None:
        """Raise the error of whoever is wrong where the results differ, by the truth at full size."""
        with of_torch():
            truth = results(reference.run, exactly(self._given))
        judged = parity.judge(ours, self._torchs, truth, tf32=self._kind.tf32)
        if judged.verdict == "wrong":
            raise WrongResultError(judged.text)
        raise NotMeasuredError(f"the results differ, and those of the kernels are not wrong: {judged.text}")

    def _kernels(self, rows: Rows) -> clock.Call:
        engine = kernels_engine(rows)
        return of_kernels()(lambda: results(engine, self._given))


def free_bytes(device: torch.device) -> float:
    """Memory that new tensors can have; no limit in the interpreter."""
    if device.type != "cuda":
        return float("inf")
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def fitting_steps(kind: Kind, free: float) -> int:
    """The steps of the kind, or as many as need at most half of the free memory.

    Raises:
        NotMeasuredError: even the fewest need more.
    """
    steps = kind.steps
    while steps > FEWEST_STEPS and bytes_of(kind, steps, kind.batch) > free / 2:
        steps //= 2
    needed = bytes_of(kind, steps, kind.batch)
    if needed > free / 2:
        raise NotMeasuredError(
            f"expected {2 * needed / 1e9:.1f} GB of free memory for a measurement, got {free / 1e9:.1f} GB"
        )
    return steps
