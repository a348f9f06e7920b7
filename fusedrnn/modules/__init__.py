"""Drop-in modules: recurrent layers, cells, dropout, initial states, and replacing the torch.nn modules of a model by them."""

from fusedrnn.modules.rnn import FusedGRU as FusedGRU
from fusedrnn.modules.rnn import FusedLSTM as FusedLSTM
from fusedrnn.modules.rnn import FusedRNN as FusedRNN
