"""Recurrent layers and dropout as pure functions of tensors.

Symbols: T steps, B samples, I inputs, L layers, D directions (1 or 2), H units, P outputs per direction (H without projection), G
gates (GRU r z n, LSTM i f g o, RNN one). Weights of a direction are a `LayerWeights`: w_ih (G*H, I or D*P), w_hh (G*H, P), biases
(G*H,) or None, w_hr (P, H) or None. With N heads w_hh is (N, G*H/N, H/N): each block of H/N units sees its own state only. With
layer normalisation there are gain_ih and gain_hh (G*H,), and of an LSTM gain_c and bias_c (H,) (`reference.norm`). All floating-
point tensors share one dtype (float64, float32, float16 or bfloat16; mixed under autocast) and one device; results have the input's
dtype. Under autocast they have the dtype of torch.nn's module on the device: that of autocast; on a CPU that of the initial states,
by default the input's, except for an RNN, and for an LSTM without lengths, which oneDNN runs in that of autocast.
"""

from fusedrnn.dropout import bias_relu_dropout as bias_relu_dropout
from fusedrnn.dropout import dropout as dropout
from fusedrnn.operators.penalty import l2_penalty as l2_penalty
from fusedrnn.reference.stack import LayerWeights as LayerWeights
from fusedrnn.stacks.gru import gru as gru
from fusedrnn.stacks.lstm import lstm as lstm
from fusedrnn.stacks.rnn import rnn as rnn
