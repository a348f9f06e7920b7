"""Drop-in replacements for PyTorch's recurrent modules: fused Triton kernels and a reference implementation."""

from fusedrnn import functional, init
from fusedrnn.auto.settings import set_auto
from fusedrnn.auto.tune import tune
from fusedrnn.backends.choice import use_backend
from fusedrnn.backends.dispatch import available_backends
from fusedrnn.backends.pointwise import BackendUnavailableError
from fusedrnn.modules.cells import FusedGRUCell, FusedLSTMCell, FusedRNNCell
from fusedrnn.modules.dropout import FusedDropout
from fusedrnn.modules.initial_state import InitialState
from fusedrnn.modules.replace import Replacements, replace_rnns, restore_rnns
from fusedrnn.modules.rnn import FusedGRU, FusedLSTM, FusedRNN
from fusedrnn.version import __version__

__all__ = [
    "BackendUnavailableError",
    "FusedDropout",
    "FusedGRU",
    "FusedGRUCell",
    "FusedLSTM",
    "FusedLSTMCell",
    "FusedRNN",
    "FusedRNNCell",
    "InitialState",
    "Replacements",
    "__version__",
    "available_backends",
    "functional",
    "init",
    "replace_rnns",
    "restore_rnns",
    "set_auto",
    "tune",
    "use_backend",
]
