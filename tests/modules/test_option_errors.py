"""Wrong zoneout, recurrent_dropout and heads are refused in one line: by the constructor, the functions, and a later call."""

import pytest
import torch

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedRNN, functional
from fusedrnn.reference.stack import LayerWeights

I, H = 3, 6
X = torch.randn(4, 2, I)
NAN = float("nan")
RANGE = r"expected a probability from 0 to below 1, got "
VALUES = {
    "zoneout": [
        (1, ValueError, RANGE + r"1\.0"),
        (True, ValueError, RANGE + r"1\.0"),
        (2.0, ValueError, RANGE + r"2\.0"),
        (-0.1, ValueError, RANGE + r"-0\.1"),
        (NAN, ValueError, RANGE + "nan"),
        ("0.5", TypeError, "expected a probability or, for h and c, two of them, got '0.5'"),
        (None, TypeError, "expected a probability or, for h and c, two of them, got None"),
        ((0.5,), TypeError, r"expected a probability or, for h and c, two of them, got \(0\.5,\)"),
        ((0.1, 0.2, 0.3), TypeError, r"expected a probability or, for h and c, two of them, got \(0\.1, 0\.2, 0\.3\)"),
        ((0.1, None), TypeError, r"expected a probability or, for h and c, two of them, got \(0\.1, None\)"),
    ],
    "recurrent_dropout": [
        (1.0, ValueError, RANGE + r"1\.0"),
        (2.0, ValueError, RANGE + r"2\.0"),
        (-0.5, ValueError, RANGE + r"-0\.5"),
        (NAN, ValueError, RANGE + "nan"),
        ("0.5", TypeError, "expected a probability, got '0.5'"),
        (None, TypeError, "expected a probability, got None"),
        ((0.1, 0.2), TypeError, r"expected a probability, got \(0\.1, 0\.2\)"),
    ],
    "heads": [
        (0, ValueError, "expected 1 or more, got 0"),
        (-2, ValueError, "expected 1 or more, got -2"),
        (4, ValueError, "expected a divisor of hidden_size 6, got 4"),
        (7, ValueError, "expected a divisor of hidden_size 6, got 7"),
        (2.0, TypeError, r"expected an integer, got 2\.0"),
        ("2", TypeError, "expected an integer, got '2'"),
        (None, TypeError, "expected an integer, got None"),
        (True, TypeError, "expected an integer, got True"),
    ],
}
CASES = [(name, *case) for name, cases in VALUES.items() for case in cases]
wrong = pytest.mark.parametrize(("name", "value", "error", "message"), CASES)


@pytest.fixture(params=["reference", "aten", "triton", None], ids=str)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


def layer(module):
    return [[LayerWeights(*module.parameters())]]


@wrong
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_a_wrong_value_is_refused_by_the_constructor(kind, name, value, error, message):
    with pytest.raises(error, match=f"^{name}: {message}$"):
        kind(I, H, **{name: value})


@wrong
def test_a_wrong_value_that_is_assigned_is_refused_by_the_call(name, value, error, message, backend):
    if name == "heads" and value is True:
        return  # it is 1
    module = FusedGRU(I, H, backend=backend)
    setattr(module, name, value)
    with pytest.raises(error, match=f"^{name}: {message}$"):
        module(X)


@wrong
def test_a_wrong_value_is_refused_by_the_functions(name, value, error, message):
    if name == "heads":
        return
    with pytest.raises(error, match=f"^{name}: {message}$"):
        functional.lstm(X, None, layer(FusedLSTM(I, H)), training=True, **{name: value})


@pytest.mark.parametrize("kind", [FusedGRU, FusedRNN])
@pytest.mark.parametrize("pair", [(0.1, 0.2), [0.0, 0.0]], ids=str)
def test_a_pair_is_for_an_lstm(kind, pair):
    message = r"^zoneout: expected one probability, for there is no c, got [(\[]0\.\d, 0\.\d[)\]]$"
    with pytest.raises(ValueError, match=message):
        kind(I, H, zoneout=pair)
    module = kind(I, H)
    module.zoneout = pair
    with pytest.raises(ValueError, match=message):
        module(X)
    function = functional.gru if kind is FusedGRU else functional.rnn
    with pytest.raises(ValueError, match=message):
        function(X, None, layer(kind(I, H)), zoneout=pair)


def test_the_second_of_a_pair_is_checked_too():
    for value in (1.0, -0.1, NAN):
        with pytest.raises(ValueError, match=f"^zoneout: {RANGE}"):
            FusedLSTM(I, H, zoneout=(0.1, value))


def test_an_rnn_has_no_candidate(backend):
    message = r"^recurrent_dropout: expected 0 for an RNN, which has no candidate, got 0\.2$"
    with pytest.raises(ValueError, match=message):
        FusedRNN(I, H, recurrent_dropout=0.2)
    with pytest.raises(ValueError, match=message):
        functional.rnn(X, None, layer(FusedRNN(I, H)), recurrent_dropout=0.2)
    module = FusedRNN(I, H, backend=backend)
    module.recurrent_dropout = 0.2
    with pytest.raises(ValueError, match=message):
        module(X)


PROJECTED = {
    "zoneout": (0.1, r"zoneout: expected 0 with a projection, which h is a product of, got \(0\.1, 0\.0\)"),
    "heads": (2, "heads: expected 1 with a projection, which all units enter, got 2"),
}


@pytest.mark.parametrize("name", PROJECTED)
def test_a_projection_has_neither(name, backend):
    value, message = PROJECTED[name]
    with pytest.raises(ValueError, match=f"^{message}$"):
        FusedLSTM(I, H, proj_size=2, **{name: value})
    module = FusedLSTM(I, H, proj_size=2, backend=backend)
    setattr(module, name, value)
    with pytest.raises(ValueError, match=f"^{message}$"):
        module(X)


def test_heads_that_are_assigned_want_weights_of_theirs(backend):
    for given, assigned, expected, got in (
        (1, 3, (3, 6, 2), (18, 6)),
        (2, 3, (3, 6, 2), (2, 9, 3)),
        (2, 1, (18, 6), (2, 9, 3)),
    ):
        module = FusedGRU(I, H, heads=given, backend=backend)
        module.heads = assigned
        with pytest.raises(RuntimeError) as caught:
            module(X)
        assert str(caught.value) == f"w_hh of layer 0: expected shape {expected}, got {got}"


SHAPES = {
    "one head": ((1, 18, 6), r"w_hh of layer 0: expected shape \(18, 6\), got \(1, 18, 6\)"),
    "too narrow": ((2, 9, 2), r"w_hh of layer 0: expected shape \(2, 9, 3\), got \(2, 9, 2\)"),
    "too narrow, no heads": ((18, 4), r"w_hh of layer 0: expected shape \(18, 6\), got \(18, 4\)"),
    "of another size": ((2, 6, 2), r"w_ih of layer 0: expected shape \(12, 3\), got \(18, 3\)"),
    "four dimensions": ((1, 1, 18, 6), r"w_hh of layer 0: expected shape \(18, 6\), got \(1, 1, 18, 6\)"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_functions_say_which_shape_they_want(case):
    shape, message = SHAPES[case]
    ((weights,),) = layer(FusedGRU(I, H))
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        functional.gru(X, None, [[weights._replace(w_hh=torch.zeros(shape))]])


def test_functions_refuse_no_heads_and_layers_of_several_numbers_of_heads():
    ((weights,),) = layer(FusedGRU(H, H))
    with pytest.raises(ValueError, match=r"^heads: expected 1 or more, got 0$"):
        functional.gru(X, None, [[weights._replace(w_hh=torch.zeros(0, 18, 6))]])
    other = weights._replace(w_hh=torch.zeros(2, 9, 3))
    with pytest.raises(RuntimeError, match=r"^w_hh of layer 1: expected shape \(2, 9, 3\), got \(18, 6\)$"):
        functional.gru(torch.randn(4, 2, H), None, [[other], [weights]])


def test_cells_and_functions_do_not_know_the_argument():
    for call in (lambda: FusedGRUCell(I, H, heads=2), lambda: functional.gru(X, None, layer(FusedGRU(I, H)), heads=2)):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'heads'"):
            call()
