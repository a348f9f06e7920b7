"""One network in three implementations: from scratch, with torch.nn, and with the fused function."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fusedrnn.functional import bias_relu_dropout
from fusedrnn.reference.counter_dropout import counter_dropout
from fusedrnn.reference.dropout import dropout

HIDDEN, CLASSES = 256, 10


class Scratch(nn.Module):
    """Two hidden layers of 256 units, each followed by ReLU and dropout, then ten scores.

    Dropout has the masks of the fused function on `backend`, so both drop the same units. On a CPU "auto" draws a
    number for each element, as torch.nn does; elsewhere a call draws a seed, which determines the mask.
    """

    def __init__(self, inputs: int, drop: tuple[float, float], backend: str) -> None:
        super().__init__()
        sizes = [inputs, HIDDEN, HIDDEN, CLASSES]
        self.weights = nn.ParameterList(torch.empty(o, i) for i, o in pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(o) for o in sizes[1:])
        self.drop, self.backend = drop, backend

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (n, inputs), to scores, (n, 10)."""
        for p, w, b in zip(self.drop, self.weights, self.biases, strict=False):
            x = self.hidden(x @ w.T, b, p)
        scores: Tensor = x @ self.weights[-1].T + self.biases[-1]
        return scores

    def hidden(self, product: Tensor, b: Tensor, p: float) -> Tensor:
        """Apply bias, ReLU and, in training, dropout with probability p."""
        x = (product + b).relu()  # not clamp, whose gradient is not zero where the sum is exactly 0
        if not self.training or p == 0:
            return x
        if self.backend == "auto" and x.is_cpu:
            return dropout(x, p)
        seed = torch.randint(-(1 << 63), (1 << 63) - 1, (1,), dtype=torch.int64, device=x.device)
        return counter_dropout(x, p, seed)


class Fused(Scratch):
    """The same network with bias, ReLU and dropout of a hidden layer in one fused call."""

    def hidden(self, product: Tensor, b: Tensor, p: float) -> Tensor:
        """Apply bias, ReLU and dropout; in one pass if the backend has a kernel."""
        return bias_relu_dropout(product, b, p, self.training, backend=self.backend)


class Torch(nn.Sequential):
    """The same network with torch.nn."""

    def __init__(self, inputs: int, drop: tuple[float, float]) -> None:
        one, two = drop
        super().__init__(
            nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(one),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(two), nn.Linear(HIDDEN, CLASSES),
        )  # fmt: skip


def build(way: str, inputs: int, drop: tuple[float, float], backend: str, seed: int) -> nn.Module:
    """Build a network "from scratch", "torch.nn" or "fused": weights N(0, 0.01^2), determined by the seed; biases 0."""
    model: nn.Module
    if way == "fused":
        model = Fused(inputs, drop, backend)
    elif way == "torch.nn":
        model = Torch(inputs, drop)
    else:
        model = Scratch(inputs, drop, backend)
    generator = torch.Generator().manual_seed(seed)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    for matrix in matrices:
        nn.init.normal_(matrix, std=0.01, generator=generator)
    return model
