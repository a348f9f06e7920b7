"""functional.gru and functional.lstm: the results of the modules on weights given as arguments."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedLSTM, functional
from fusedrnn.reference.stack import LayerWeights

BACKENDS = ("aten", "reference", "triton")


def weights(module):
    """A module's weights as the functions take them."""
    rows = [LayerWeights(*w) for w in module.all_weights]
    directions = 1 + module.bidirectional
    return [rows[k : k + directions] for k in range(0, len(rows), directions)]


@pytest.mark.parametrize("backend", ["aten", "reference", pytest.param("triton", marks=pytest.mark.slow)])
def test_the_functions_are_what_the_modules_run(backend):
    x, ids = torch.randn(5, 2, 3), torch.randint(0, 3, (5, 2))
    gru, lstm = (kind(3, 4, 2, bidirectional=True, backend=backend) for kind in (FusedGRU, FusedLSTM))
    h, c = torch.randn(4, 2, 4), torch.randn(4, 2, 4)
    for given in (x, ids):
        for got, expected in zip(functional.gru(given, h, weights(gru), backend=backend), gru(given, h), strict=True):
            assert torch.equal(got, expected)
        output, (h_n, c_n) = functional.lstm(given, (h, c), weights(lstm), backend=backend)
        expected, states = lstm(given, (h, c))
        assert all(torch.equal(a, b) for a, b in zip((output, h_n, c_n), (expected, *states), strict=True))
    packed = pack_sequence([x[:, 0], x[:3, 1]])
    output, h_n = functional.gru(packed.data, h, weights(gru), batch_sizes=packed.batch_sizes, backend=backend)
    expected, state = gru(packed, h)
    assert torch.equal(output, expected.data)
    assert torch.equal(h_n, state)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_state_is_a_state_of_zeros(backend):
    gru = FusedGRU(3, 4, 2)
    x, zeros = torch.randn(5, 2, 3), torch.zeros(2, 2, 4)
    given, default = (functional.gru(x, h, weights(gru), backend=backend) for h in (zeros, None))
    assert all(torch.equal(a, b) for a, b in zip(given, default, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_happens_in_training_only(backend):
    gru, x = FusedGRU(3, 16, 2), torch.randn(5, 2, 3)
    plain, _ = functional.gru(x, None, weights(gru), backend=backend)
    still, _ = functional.gru(x, None, weights(gru), dropout=0.5, backend=backend)
    dropped, _ = functional.gru(x, None, weights(gru), dropout=0.5, training=True, backend=backend)
    assert torch.equal(plain, still)
    assert not torch.allclose(plain, dropped)


W_IH, W_HH, B = torch.randn(12, 3), torch.randn(12, 4), torch.randn(12)
GOOD, X = LayerWeights(W_IH, W_HH, B, B), torch.randn(5, 2, 3)
ABOVE = LayerWeights(torch.randn(12, 4), W_HH, B, B)
BAD = {
    "w_ih": ([[LayerWeights(W_IH[:9], W_HH)]], X, r"w_ih of layer 0: expected shape \(12, 3\), got \(9, 3\)"),
    "b_hh": ([[LayerWeights(W_IH, W_HH, B, B[:9])]], X, r"b_hh of layer 0: expected shape \(12,\), got \(9,\)"),
    "layer above": ([[GOOD], [GOOD]], X, r"w_ih of layer 1: expected shape \(12, 4\), got \(12, 3\)"),
    "directions": ([[GOOD], [ABOVE, ABOVE]], X, "layer 1: expected 1 directions, as in layer 0, got 2"),
    "three directions": ([[GOOD, GOOD, GOOD]], X, "layer 0: expected 1 or 2 directions, got 3"),
    "ragged": ([[GOOD, GOOD], [ABOVE]], X, "layer 1: expected 2 directions, as in layer 0, got 1"),
    "dimensions": ([[GOOD]], X[0], "input must have 3 dimensions, got 2"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_weights_and_input_that_do_not_fit_are_named(case):
    layers, x, message = case
    with pytest.raises(RuntimeError, match=message):
        functional.gru(x, None, layers)


def test_packed_rows_have_two_dimensions():
    with pytest.raises(RuntimeError, match="input must have 2 dimensions, got 3"):
        functional.gru(X, None, [[GOOD]], batch_sizes=torch.tensor([2, 2, 1]))


def test_the_projection_is_checked_too():
    w_hr = torch.randn(2, 5)
    good = LayerWeights(torch.randn(20, 3), torch.randn(20, 2), None, None, w_hr)
    assert functional.lstm(X, None, [[good]])[0].shape == (5, 2, 2)
    with pytest.raises(RuntimeError, match=r"w_hr of layer 0: expected shape \(2, 5\), got \(2, 4\)"):
        functional.lstm(X, None, [[good._replace(w_hr=w_hr[:, :4])]])


def test_layers_of_the_same_number_of_weights_in_other_places_are_ragged():
    wide = LayerWeights(torch.randn(12, 8), W_HH, B, B)
    with pytest.raises(RuntimeError, match="layer 1: expected 2 directions, as in layer 0, got 3"):
        functional.gru(X, None, [[GOOD, GOOD], [wide, wide, wide], [wide]])


@pytest.mark.parametrize("backend", ["reference", "aten", "auto"])
def test_a_projection_as_wide_as_the_state_is_one(backend):
    weights = LayerWeights(torch.randn(16, 3), torch.randn(16, 4), torch.randn(16), torch.randn(16), torch.randn(4, 4))
    expected, _ = functional.lstm(X, None, [[weights]], backend="reference")
    got, _ = functional.lstm(X, None, [[weights]], backend=backend)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got, functional.lstm(X, None, [[weights._replace(w_hr=None)]])[0])


@pytest.mark.parametrize("function", [functional.gru, functional.lstm])
def test_an_unknown_option_is_a_type_error_of_the_function(function):
    name = function.__name__
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'droput'$"):
        function(X, None, [[GOOD]], droput=0.5)


@pytest.mark.parametrize("hx", [(), (torch.zeros(1, 2, 4),), torch.zeros(2, 1, 2, 4)], ids=["none", "one", "tensor"])
def test_states_of_an_lstm_are_a_pair(hx):
    with pytest.raises(TypeError, match=r"^hx: expected \(h_0, c_0\), got "):
        functional.lstm(X, hx, [[LayerWeights(torch.randn(16, 3), torch.randn(16, 4))]])


def test_an_unknown_memory_is_refused_in_a_plain_call():
    with pytest.raises(ValueError, match=r"^memory: expected 'save' or 'recompute', got 'none'$"):
        functional.gru(X, None, [[GOOD]], memory="none")


def test_a_gru_has_no_projection_and_packed_input_no_lengths():
    with pytest.raises(
        RuntimeError, match=r"^w_hr of layer 0: expected None, for only an LSTM has a projection, got a t"
    ):
        functional.gru(X, None, [[GOOD._replace(w_hr=torch.randn(4, 4))]])
    with pytest.raises(ValueError, match=r"^lengths: expected None with batch_sizes"):
        functional.gru(X[:, 0], None, [[GOOD]], batch_sizes=torch.tensor([3, 2]), lengths=torch.tensor([2, 2, 1]))
