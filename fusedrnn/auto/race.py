"""Which is faster: the kernels, with which rows of the launch table, or torch's own."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.auto import clock, parity
from fusedrnn.auto.check import kernels, kernels_engine, torchs_engine
from fusedrnn.auto.errors import NotMeasuredError, WrongResultError, of_kernels, of_torch
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.problem import bytes_of, problem, results
from fusedrnn.operators.layer import Rows

FEWEST_STEPS = 16
"""A problem is not made shorter than this for lack of memory."""


class Race:
    """A problem of the kind's size, with the results of torch's own."""

    def __init__(self, kind: Kind, device: torch.device) -> None:
        self._device, self._kind = device, kind
        steps = fitting_steps(kind, free_bytes(device))
        with of_torch():
            self._given = problem(kind, device, steps, kind.batch)
            self._torch = torchs_engine(self._given)
            self._torchs = results(self._torch, self._given)

    def against_torch(self, rows: Rows) -> tuple[float, float]:
        """Seconds of a call with the kernels, launched with `rows`, and with torch's own.

        Raises:
            As `check`.
        """
        self.check(rows)
        with of_kernels():
            engine = kernels_engine(rows)
            return clock.compared(
                lambda: results(engine, self._given), lambda: results(self._torch, self._given), self._device
            )

    def against(self, rows: Rows, others: Rows) -> tuple[float, float]:
        """Seconds of a call with the kernels, launched with `rows` and with `others`.

        Raises:
            As `check`.
        """
        self.check(rows)
        with of_kernels():
            one, other = kernels_engine(rows), kernels_engine(others)
            return clock.compared(lambda: results(one, self._given), lambda: results(other, self._given), self._device)

    def check(self, rows: Rows) -> None:
        """Run twice. The results must be the same in every bit, and near those of torch's own.

        Raises:
            WrongResultError: they are not. KernelError: the kernels raise. NotMeasuredError: there is no memory.
        """
        with of_kernels():
            first, second = kernels(self._given, rows), kernels(self._given, rows)
            for one, other, expected in zip(first, second, self._torchs, strict=True):
                self._check_one(*one, other[1], expected[1])

    def _check_one(self, name: str, one: Tensor, other: Tensor, expected: Tensor) -> None:
        limit = 2 * parity.coarse(self._kind.torch_dtype, tf32=self._kind.tf32)
        if not torch.equal(one, other):
            raise WrongResultError(f"{name}: expected the same bits of two runs, got others")
        error = parity.relative_error(one, expected)
        if not error <= limit:
            raise WrongResultError(
                f"{name}: expected a relative error to torch's own up to {limit:.3g}, got {error:.3g}"
            )


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
