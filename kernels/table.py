"""stub"""
from dataclasses import dataclass
@dataclass(frozen=True)
class Row:
    block_u: int
    block_b: int
    block_k: int
    chunks: int
    resident: bool
    warps: int = 4
    stages: int = 1
