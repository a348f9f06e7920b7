"""What is measured: one recurrent call, named so that two records can be compared row by row."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from fusedrnn.backends.cudnn import Layer

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "fp64": torch.float64}
QUANTITIES = ("time", "memory", "launches", "lyrics", "first call", "dropout")


@dataclass(frozen=True)
class Case:
    """One call: T steps, B samples, I inputs, H units, L layers, D directions."""

    suite: str
    cell: str  # "gru", "gru_before" or "lstm"; for the quantity "dropout" a function of T x B x H values
    dtype: str  # a key of `DTYPES`
    T: int
    B: int
    I: int
    H: int
    L: int = 1
    D: int = 1
    passes: str = "forward"  # without gradients, or "training", forward and backward
    input: str = (
        "dense"  # (T, B, I); "ids": token ids where torch.nn gets one-hot rows; "packed": lengths like those of lyrics
    )
    quantity: str = "time"  # what is measured, one of `QUANTITIES`

    @property
    def key(self) -> str:
        """Its name in records."""
        sizes = " ".join(f"{name}{getattr(self, name)}" for name in "TBIHLD")
        return f"{self.suite}: {self.quantity} of {self.cell} {self.dtype} {sizes} {self.input} {self.passes}"

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of weights and inputs."""
        return DTYPES[self.dtype]

    @property
    def layer(self) -> Layer:
        """As the floor model takes it."""
        tf32 = torch.backends.cudnn.allow_tf32
        packed = self.input == "packed"
        return Layer(
            self.cell, self.torch_dtype, self.T, self.B, self.I, self.H, self.D, self.L, tf32=tf32, packed=packed
        )

    @property
    def sweeps(self) -> tuple[str, ...]:
        """The sweeps it runs."""
        return ("forward",) if self.passes == "forward" else ("forward", "backward")

    def columns(self) -> dict[str, Any]:
        """Its part of a row."""
        return {"key": self.key, **asdict(self)}
