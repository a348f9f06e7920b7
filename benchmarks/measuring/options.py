"""How much is measured of a case."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How much is measured of a case."""

    rounds: int = 15
    warmup: int = 3
    reference: bool = True  # as a peer
    compiled: bool = False  # the reference under torch.compile, as a peer
    profile: bool = True  # whether kernels are counted
