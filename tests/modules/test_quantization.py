"""Quantisation by torch.ao and torchao gives what it gives for torch.nn's modules, or says that it does nothing."""

import warnings

import pytest
import torch
from contract_cases import CELLS, LAYERS, tensors
from torch import nn
from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN, replace_rnns

pytestmark = pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
PAIRS = [LAYERS["gru"], LAYERS["lstm"], *CELLS.values()]  # torch.ao has no quantised nn.RNN


def models(theirs, ours, **options):
    """Two models of a recurrent module and a Linear with the same weights."""
    pair = [nn.ModuleList([kind(8, 8, **options), nn.Linear(8, 8)]) for kind in (theirs, ours)]
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def quiet(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's about its own typed storage
        return call(*args, **kwargs)


@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16], ids=str)
@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_a_module_named_by_its_class_is_quantised_as_torchs(theirs, ours, dtype):
    expected, model = models(theirs, ours)
    expected = quiet(quantize_dynamic, expected, {theirs}, dtype=dtype)
    got = quiet(quantize_dynamic, model, {ours}, dtype=dtype)
    assert type(got[0]) is type(expected[0])
    assert "quantized" in type(got[0]).__module__
    assert type(model[0]) is ours
    assert not hasattr(model[0], "qconfig")
    x = torch.randn(3, 8) if "Cell" in ours.__name__ else torch.randn(5, 3, 8)
    for a, b in zip(tensors(got[0](x)), tensors(expected[0](x)), strict=True):
        assert torch.equal(a, b)


def test_an_rnn_stays_in_floating_point_as_torchs_and_says_so():
    expected, model = models(nn.RNN, FusedRNN)
    assert type(quiet(quantize_dynamic, expected, {nn.RNN})[0]) is nn.RNN
    with pytest.warns(UserWarning, match=r"^FusedRNN is not quantised: .*torch\.ao has no quantised nn\.RNN"):
        got = quantize_dynamic(model, {FusedRNN})
    assert type(got[0]) is FusedRNN


def test_a_module_named_by_its_place_or_with_its_own_configuration_is_quantised():
    by_place = quiet(quantize_dynamic, models(nn.LSTM, FusedLSTM, num_layers=2, bidirectional=True)[1], {"0"})
    packed = pack_sequence([torch.randn(5, 8), torch.randn(2, 8)])
    assert by_place[0](packed)[0].data.shape == (7, 16)
    (_, model) = models(nn.GRU, FusedGRU)
    model[0].qconfig = default_dynamic_qconfig
    assert type(model[0]) is nn.GRU
    assert "quantized" in type(quiet(quantize_dynamic, model, {nn.Linear})[0]).__module__


@pytest.mark.parametrize("spec", [None, {nn.GRU, nn.Linear}], ids=["default", "torch.nn's"])
def test_a_module_that_is_left_in_floating_point_is_reported(spec):
    model = nn.ModuleList([nn.GRU(8, 8), nn.Linear(8, 8)])
    replace_rnns(model)
    with pytest.warns(
        UserWarning, match=r"FusedGRU is not quantised: expected FusedGRU in qconfig_spec, or .*restore_rnns"
    ):
        got = quantize_dynamic(model, spec)
    assert type(got[0]) is FusedGRU
    assert "quantized" in type(got[1]).__module__
    assert not hasattr(got[0], "qconfig")
    x = torch.randn(5, 3, 8)
    assert torch.equal(got[0](x)[0], model[0](x)[0])


class Own(FusedGRU):
    """A user's subclass."""


@pytest.mark.parametrize(
    ("module", "why"),
    [(FusedGRU(8, 8, reset_after=False), "torch.nn has no reset_after=False"), (Own(8, 8), "got the subclass Own")],
    ids=["option", "subclass"],
)
def test_what_torch_has_not_is_left_and_reported(module, why):
    with pytest.warns(UserWarning, match=f"{type(module).__name__} is not quantised: .*{why}"):
        got = quantize_dynamic(nn.Sequential(module), {type(module)})
    assert type(got[0]) is type(module)


@pytest.mark.filterwarnings("ignore:.*(qconfig|observer):UserWarning")  # torch's advice on its observers
@pytest.mark.parametrize("prepare", [torch.ao.quantization.prepare, torch.ao.quantization.prepare_qat])
def test_static_quantisation_leaves_a_module_as_it_is_and_reports(prepare):
    """torch.nn's GRU fails there, for its output is a tuple."""
    model, x = nn.Sequential(FusedGRU(8, 8)), torch.randn(5, 3, 8)
    model.train(prepare is torch.ao.quantization.prepare_qat)
    model.qconfig = torch.ao.quantization.get_default_qconfig()
    with pytest.warns(UserWarning, match="FusedGRU is not quantised: expected a configuration of dynamic quantisation"):
        got = prepare(model)
    assert type(got[0]) is FusedGRU
    assert torch.equal(got(x)[0], model(x)[0])


@pytest.mark.filterwarnings("ignore")  # of torchao and of what it imports
def test_torchao_leaves_recurrent_modules_alone_as_torchs():
    torchao = pytest.importorskip("torchao.quantization")
    for model in models(nn.GRU, FusedGRU):
        before = model[0].weight_hh_l0
        torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
        assert model[0].weight_hh_l0 is before
        assert type(model[1].weight) is not nn.Parameter
        with pytest.raises(AssertionError, match="quant requires module to have"):
            torchao.quantize_(model, torchao.Int8WeightOnlyConfig(), filter_fn=lambda m, _: isinstance(m, nn.RNNBase))
