"""FusedDropout: a drop-in replacement for torch.nn.Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.fx import Proxy

from fusedrnn import validation
from fusedrnn.backends.choice import check_name
from fusedrnn.context import traced_as_leaf
from fusedrnn.dropout import dropout
from fusedrnn.types import Backend

if TYPE_CHECKING:
    from fusedrnn.types import typed_as


class FusedDropout(nn.Dropout):
    """Drop-in for `torch.nn.Dropout`: `functional.dropout` in training, the identity in evaluation.

    On a CPU, unless a backend is named, the mask is that of `nn.Dropout` with the same seed.

    Args:
        p: probability of dropping an element, 0 to 1.
        inplace: overwrite the input.
        shared_dims: number of leading dimensions that share one mask.
        backend: "auto", "reference", "aten" or "triton"; None leaves the choice to `use_backend` and FUSEDRNN_BACKEND.

    Raises:
        ValueError: `p` is not a probability, or the backend does not exist.
    """

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, shared_dims: int = 0, backend: Backend | None = None
    ) -> None:
        super().__init__(validation.check_probability("FusedDropout", p), inplace)
        self.shared_dims = validation.check_shared_dims(shared_dims)
        self.backend = None if backend is None else check_name(backend)

    def forward(self, input: Tensor) -> Tensor:
        """Apply dropout to `input`, which may have any shape."""
        if isinstance(input, Proxy):
            return traced_as_leaf(self, input)
        return dropout(input, self.p, self.training, self.inplace, shared_dims=self.shared_dims, backend=self.backend)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call `forward`, and the hooks."""

    def __prepare_scriptable__(self) -> nn.Dropout:
        """`nn.Dropout` with the attributes and hooks of this module, in whose place torch.jit.script compiles it."""
        if type(self) is not FusedDropout:
            raise RuntimeError(f"torch.jit.script: expected a FusedDropout, got the subclass {type(self).__name__}")
        if self.shared_dims:
            raise RuntimeError(f"torch.jit.script: expected shared_dims=0, as nn.Dropout has, got {self.shared_dims}")
        twin = nn.Dropout()
        own = {name: value for name, value in self.__dict__.items() if name not in ("shared_dims", "backend")}
        twin.__dict__.update(own)
        return twin

    def extra_repr(self) -> str:
        """Add the options that differ from their defaults to the text of torch.nn."""
        shared = f", shared_dims={self.shared_dims}" if self.shared_dims else ""
        return super().extra_repr() + shared + (f", backend={self.backend!r}" if self.backend else "")
