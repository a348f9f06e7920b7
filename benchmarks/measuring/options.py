"""How much is measured of a case."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How much is measured of a case.

    Attributes:
        rounds, warmup: of each case.
        reference, compiled: whether the reference, and the reference under ``torch.compile``, are timed too.
        profile: whether kernels are counted.
    """

    rounds: int = 15
    warmup: int = 3
    reference: bool = True
    compiled: bool = False
    profile: bool = True
