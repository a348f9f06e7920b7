"""Drop-in recurrent modules for PyTorch: a textbook reference beside fused Triton kernels."""

from fusedrnn import functional
from fusedrnn.backends import BackendUnavailableError, available_backends, use_backend
from fusedrnn.cells import FusedGRUCell, FusedLSTMCell
from fusedrnn.dropout import FusedDropout
from fusedrnn.modules import FusedGRU, FusedLSTM
from fusedrnn.version import __version__

__all__ = [
    "BackendUnavailableError",
    "FusedDropout",
    "FusedGRU",
    "FusedGRUCell",
    "FusedLSTM",
    "FusedLSTMCell",
    "__version__",
    "available_backends",
    "functional",
    "use_backend",
]
