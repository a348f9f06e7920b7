"""FusedGRU, FusedLSTM and FusedRNN, each from its file. Modules that were pickled before name this one."""

from fusedrnn.modules.gru import FusedGRU as FusedGRU
from fusedrnn.modules.lstm import FusedLSTM as FusedLSTM
from fusedrnn.modules.vanilla import FusedRNN as FusedRNN
