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
    """Dropout without a stored mask: a drop-in for `torch.nn.Dropout`.

    In evaluation it is the identity; in training::

        y = m * x / (1 - p)         m is 0 with probability p, else 1

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014). The mask is a function of a seed
    that torch's generator gives, and is computed again for the backward; see `functional.dropout`. On a CPU, unless a backend is
    named, it is that of `nn.Dropout` with the same seed.

    Args:
        p: probability of dropping an element, 0 to 1. Default: 0.5.
        inplace: whether to overwrite the input. Default: False.
        shared_dims: number of leading dimensions that share one mask; 1 for a sequence (T, B, F) is variational dropout.
            Default: 0.
        backend: "auto", "reference", "aten" or "triton". Default: None, which leaves the choice to `use_backend` and
            FUSEDRNN_BACKEND.

    Shape:
        - input: any, also nested.
        - output: as the input.

    Raises:
        TypeError: `p` is not a number, or `shared_dims` not an integer.
        ValueError: `p` is not a probability, `shared_dims` is negative, or the backend does not exist.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedDropout
        >>> dropout, x = FusedDropout(0.5), torch.ones(4, 8)
        >>> sorted(set(dropout(x).flatten().tolist())), dropout.eval()(x) is x
        ([0.0, 2.0], True)
    """

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, shared_dims: int = 0, backend: Backend | None = None
    ) -> None:
        """Check and store the arguments, which the class describes."""
        super().__init__(validation.check_probability("FusedDropout", p), inplace)
        self.shared_dims = validation.check_shared_dims(shared_dims)
        self.backend = None if backend is None else check_name(backend)

    def forward(self, input: Tensor) -> Tensor:
        """Apply dropout in training; return `input` itself in evaluation.

        Args:
            input: floating point, any shape and strides, also nested.

        Returns:
            A tensor with the shape, dtype and strides of `input`.

        Raises:
            TypeError: `input` is not a tensor.
            ValueError: `shared_dims` is more than the dimensions of `input`, or not 0 and `input` is nested.
            RuntimeError: `input` is not floating point, or is expanded or nested and `inplace`.
            BackendUnavailableError: the backend that was asked for cannot run the call.
        """
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
