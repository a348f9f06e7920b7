"""Drop-in modules: recurrent layers, cells, dropout, and what turns a model's modules into them."""

from fusedrnn.modules.rnn import FusedGRU as FusedGRU
from fusedrnn.modules.rnn import FusedLSTM as FusedLSTM
