"""The constructors take and refuse what torch.nn's do, with its types, its messages and its order of checks."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from contract_cases import error_of
from torch import nn

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN, FusedRNNCell

FAULTS = {  # in the order of torch's checks
    "dropout": [True, -0.1, 1.5, float("nan"), "0.5", "abc", None],
    "bias": [1, "True", None],
    "batch_first": [0, "False"],
    "input_size": [3.0, "3", np.int64(3), 0, -1],
    "hidden_size": [4.0, np.int64(4), 0],
    "num_layers": [0, -1, 1.5],
}

DROPOUT = "dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got {!r}"


def refused(kind, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"input_size": 3, "hidden_size": 4, **options}
        error = error_of(lambda: kind(**given))
    assert error is not None, options
    return type(error), str(error)


def refused_by_torch(kind, options):
    """As `refused`. Of a bad dropout, which torch checks first, ours say in one form what was given."""
    error, message = refused(kind, options)
    return error, DROPOUT.format(options["dropout"]) if "dropout" in options else message


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in FAULTS.items() for v in vs], ids=repr)
def test_a_bad_argument_is_refused_as_by_torch(pair, name, value):
    assert refused(pair[1], {name: value}) == refused_by_torch(pair[0], {name: value})


@pytest.mark.parametrize("names", list(itertools.combinations(FAULTS, 2)), ids="-".join)
def test_of_two_bad_arguments_the_one_that_torch_checks_first_is_named(pair, names):
    for values in itertools.product(*(FAULTS[name] for name in names)):
        options = dict(zip(names, values, strict=True))
        assert refused(pair[1], options) == refused_by_torch(pair[0], options), options


@pytest.mark.parametrize(
    "options", [{"proj_size": -1}, {"proj_size": 4}, {"proj_size": 9}, {"proj_size": 4, "num_layers": 0}]
)
def test_a_bad_projection_is_refused_as_by_torch(options):
    assert refused(FusedLSTM, options) == refused(nn.LSTM, options)


@pytest.mark.parametrize("size", [0, 2, None, "2"], ids=repr)
def test_a_gru_has_no_projection_whatever_its_size(size):
    with pytest.raises(ValueError, match="only supported for LSTM"):
        FusedGRU(3, 4, proj_size=size)


def test_an_integer_dtype_is_refused_and_a_complex_one_is_not(pair):
    for kind in pair:
        with pytest.raises(RuntimeError, match="floating point"):
            kind(3, 4, dtype=torch.int64)
        assert kind(3, 4, dtype=torch.complex64).weight_ih_l0.is_complex()


def test_arguments_come_by_position_and_by_name(pair):
    args = [3, 4, 2, False, True, 0.5, True]
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    if pair[1] is FusedLSTM:
        args, names = [*args, 2], [*names, "proj_size"]
    if pair[1] is FusedRNN:
        args, names = [*args[:3], "relu", *args[3:]], [*names[:3], "nonlinearity", *names[3:]]
    args, names = [*args, "meta", torch.float64], [*names, "device", "dtype"]
    by_position, by_name = pair[1](*args), pair[1](**dict(zip(names, args, strict=True)))
    for module in (by_position, by_name):
        assert [getattr(module, name) for name in names[:-2]] == args[:-2]
        assert module.weight_ih_l0.is_meta
        assert module.weight_ih_l0.dtype == torch.float64


def test_a_missing_and_an_unknown_argument_are_type_errors(pair):
    calls = [([], {}, "input_size"), ([3], {}, "hidden_size"), ([3, 4], {"layers": 2}, "layers")]
    for kind, (args, options, name) in itertools.product(pair, calls):
        with pytest.raises(TypeError, match=name):
            kind(*args, **options)


def test_what_torch_does_not_check_is_taken(pair):
    for kind in pair:
        module = kind(True, 4, bidirectional="both")
        assert "bidirectional=both" in repr(module)
        assert "weight_ih_l0_reverse" in module.state_dict()
    assert module(torch.randn(5, 2, 1))[0].shape == (5, 2, 8)  # ours; torch's fails here


@pytest.mark.parametrize("dropout", [0, 1, np.float64(0.5), np.float32(0.5)], ids=repr)
def test_dropout_becomes_a_float(pair, dropout):
    module = pair[1](3, 4, 2, dropout=dropout)
    assert type(module.dropout) is float
    assert module.dropout == dropout


def test_dropout_on_one_layer_is_a_warning(pair):
    with pytest.warns(UserWarning, match="num_layers greater than 1, but got dropout=0.5 and num_layers=1"):
        pair[1](3, 4, dropout=0.5)


def test_options_that_torch_lacks_are_in_the_repr():
    gru = FusedGRU(3, 4, backend="aten", reset_after=False)
    assert gru.extra_repr() == "3, 4, backend='aten', reset_after=False"


def test_dtype_and_device_and_their_defaults_are_respected(pair):
    assert pair[1](3, 4, dtype=torch.bfloat16).weight_ih_l0.dtype == torch.bfloat16
    assert pair[1](3, 4, device="meta").weight_ih_l0.is_meta
    torch.set_default_dtype(torch.float64)
    try:
        assert pair[1](3, 4).weight_ih_l0.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_cells_check_nothing(cells):
    for kind in cells:
        assert kind(3, 4, bias="yes").bias_ih is not None
        assert kind(3, 4, bias=0).bias_ih is None
        assert kind(0, 4).weight_ih.shape == (kind(3, 4).weight_ih.shape[0], 0)
        assert kind(3, 0).weight_hh.shape == (0, 0)
        for bad in ((-1, 4), (3, -1)):
            assert isinstance(error_of(lambda: kind(*bad)), RuntimeError)  # noqa: B023
        for bad in ((3.0, 4), (3, "4"), (3,)):
            assert isinstance(error_of(lambda: kind(*bad)), TypeError)  # noqa: B023


def test_cells_take_their_arguments_by_position_and_by_name(cells):
    more = ("relu",) if cells[1] is FusedRNNCell else ()
    for cell in (
        cells[1](3, 4, False, *more, "meta", torch.float64),
        cells[1](input_size=3, hidden_size=4, bias=False, device="meta", dtype=torch.float64),
    ):
        assert cell.weight_ih.is_meta
        assert cell.weight_ih.dtype == torch.float64
        assert (cell.input_size, cell.hidden_size, cell.bias) == (3, 4, False)
        assert "bias_ih" in cell._parameters
        assert "(3, 4, bias=False" in repr(cell)
