"""`layer_norm=True`: parameters, backends, and what the rest of the contract asks of an option."""

import copy
import io

import pytest
import torch
from contract_cases import tensors, total
from torch import nn

import fusedrnn
from fusedrnn import FusedGRU, FusedLSTM, FusedRNN, functional
from fusedrnn.modules.replace import restore_rnns
from fusedrnn.reference.stack import LayerWeights

T, B, I, H = 5, 3, 4, 6
KINDS = {"gru": FusedGRU, "lstm": FusedLSTM, "rnn": FusedRNN}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def build(kind, **options):
    torch.manual_seed(2)
    module = KINDS[kind](I, H, layer_norm=True, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith(("gain", "bias_c")):
                parameter.add_(torch.randn_like(parameter) / 4)
    return module


def test_parameters_start_as_those_of_torch_with_gains_of_one(kind):
    torch.manual_seed(3)
    module = KINDS[kind](I, H, 2, bidirectional=True, layer_norm=True)
    torch.manual_seed(3)
    plain = KINDS[kind](I, H, 2, bidirectional=True)
    G = module.weight_hh_l0.shape[0]
    more = {"gain_ih": (G,), "gain_hh": (G,)} | ({"gain_c": (H,), "bias_c": (H,)} if kind == "lstm" else {})
    ends = [f"_l{k}{end}" for k in range(2) for end in ("", "_reverse")]
    assert set(module.state_dict()) == {*plain.state_dict(), *(name + end for name in more for end in ends)}
    for end in ends:
        for name, shape in more.items():
            parameter = getattr(module, name + end)
            assert parameter.shape == shape
            assert torch.equal(parameter, torch.full(shape, 0.0 if name == "bias_c" else 1.0))
    bound = H**-0.5
    for name, parameter in plain.named_parameters():
        assert getattr(module, name).shape == parameter.shape
        assert getattr(module, name).abs().max() <= bound
    assert [len(weights) for weights in module.all_weights] == [4 + len(more)] * 4
    assert "layer_norm=True" in repr(module)


@pytest.mark.parametrize("memory", ["save", "recompute"])
@pytest.mark.parametrize("backend", ["aten", None])
def test_backends_agree_with_every_gradient(kind, backend, memory):
    module = build(kind, num_layers=2, bidirectional=True, dropout=0.4, backend="reference")
    lengths, resets = torch.tensor([5, 2, 4]), torch.rand(T, B) < 0.3
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    rate = (0.2, 0.3) if kind == "lstm" else 0.2
    module.zoneout = rate
    found = []
    for name in ("reference", "aten" if backend is None else backend):
        module.backend, module.memory = name, memory
        torch.manual_seed(5)
        results = tensors(module(x, None, lengths, resets=resets))
        found.append([*results, *torch.autograd.grad(total(results), [x, *module.parameters()])])
    for want, got in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)


def test_the_function_takes_the_same_weights(kind):
    module = build(kind, num_layers=2)
    x = torch.randn(T, B, I, dtype=torch.float64)
    function = {"gru": functional.gru, "lstm": functional.lstm, "rnn": functional.rnn}[kind]
    got = function(x, None, module._weights().layers)
    for a, b in zip(tensors(got), tensors(module(x)), strict=True):
        assert torch.equal(a, b)


def test_compiled_exported_copied_pickled_and_mapped_calls_give_the_same(kind):
    module, x = build(kind).eval(), torch.randn(T, B, I, dtype=torch.float64)
    expected = module(x)[0]
    torch._dynamo.reset()
    again = io.BytesIO()
    torch.save(module, again)
    again.seek(0)
    others = {
        "compiled": torch.compile(module, backend="aot_eager", fullgraph=True),
        "exported": torch.export.export(module, (x,)).module(),
        "copied": copy.deepcopy(module),
        "pickled": torch.load(again, weights_only=False),
        "mapped": lambda x: (torch.vmap(lambda row: module(row)[0], 1, 1)(x.unsqueeze(2)).squeeze(2),),
    }
    for name, other in others.items():
        torch.testing.assert_close(other(x)[0], expected, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_left_by_restore_and_refused_by_torchscript(kind):
    model = nn.Sequential(build(kind))
    assert restore_rnns(model).left == {"0": "torch.nn has no layer_norm=True"}
    with pytest.raises(RuntimeError, match=r"torch\.nn has no layer_norm=True"):
        torch.jit.script(model[0])


def test_second_derivatives(kind):
    module = KINDS[kind](2, 2, layer_norm=True, dtype=torch.float64)
    x = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = list(module.parameters())
    assert torch.autograd.gradgradcheck(lambda x, *_: module(x)[0], (x, *parameters))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_is_near_float64(kind, dtype):
    module, x = build(kind), torch.randn(T, B, I, dtype=torch.float64)
    exact = module(x)[0]
    for backend in ("reference", "aten"):
        module.backend = backend
        error = (copy.deepcopy(module).to(dtype)(x.to(dtype))[0].double() - exact).abs().max()
        assert error < 30 * torch.finfo(dtype).eps
    if dtype == torch.bfloat16:
        with torch.autocast("cpu", dtype):
            assert (module.float()(x.float())[0].double() - exact).abs().max() < 30 * torch.finfo(dtype).eps


def test_gradients_do_not_explode_with_the_size_of_the_recurrent_weights():
    x = torch.randn(20, 4, I)
    sizes = {}
    for normal in (False, True):
        torch.manual_seed(0)
        module = FusedGRU(I, 64, layer_norm=normal)
        module.weight_hh_l0.data.mul_(100)
        module(x)[0][-1].sum().backward()
        sizes[normal] = module.weight_ih_l0.grad.norm().item()
    assert sizes[True] < 1e-6 * sizes[False]


WRONG = {
    "reset before": (FusedGRU, {"reset_after": False}, "layer_norm: expected False with reset_after=False"),
    "projection": (FusedLSTM, {"proj_size": 2}, "layer_norm: expected False with a projection"),
    "heads": (FusedGRU, {"heads": 2}, "layer_norm: expected False with heads"),
}


@pytest.mark.parametrize(("cls", "options", "message"), WRONG.values(), ids=WRONG)
def test_what_it_cannot_be_combined_with_is_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(I, H, layer_norm=True, **options)


def test_sums_over_many_steps_are_not_rounded_to_bfloat16():
    """bias_c of a long sequence: adding steps in bfloat16 stops where a step is a 256th of the sum."""
    torch.manual_seed(0)
    module = FusedLSTM(8, 16, layer_norm=True, backend="aten")
    module.gain_hh_l0.data.fill_(0.05)
    x, found = torch.randn(600, 4, 8).bfloat16(), []
    for dtype in (torch.bfloat16, torch.float64):
        each = copy.deepcopy(module).bfloat16().to(dtype)
        each(x.to(dtype))[0].sum().backward()
        found.append(each.bias_c_l0.grad.double())
    torch.testing.assert_close(*found, rtol=0.02, atol=0.0)


def test_a_module_of_before_these_options_runs():
    module = FusedLSTM(I, H)
    for name in ("zoneout", "recurrent_dropout", "heads", "layer_norm"):
        del module.__dict__[name]
    assert module(torch.randn(T, B, I))[0].shape == (T, B, H)
    assert "heads" not in repr(module)


def test_wrong_kinds_of_arguments_are_refused():
    with pytest.raises(TypeError, match=r"^layer_norm: expected True or False, got 'no'$"):
        FusedLSTM(I, H, layer_norm="no")
    module = build("gru").bfloat16()
    module.gain_hh_l0.data = module.gain_hh_l0.data.float()
    with pytest.raises(ValueError, match=r"^layer 0: expected gains of dtype torch.bfloat16, .*, got torch.float32$"):
        module(torch.randn(T, B, I).bfloat16())
    weights = LayerWeights(torch.randn(12, 3), torch.randn(12))
    with pytest.raises(RuntimeError, match=r"^w_hh of layer 0: expected 2 dimensions, or 3 with heads, got 1$"):
        functional.gru(torch.randn(5, 2, 3), None, [[weights]])


def test_weights_without_gains_are_refused():
    module = build("gru", num_layers=2)
    above = module._weights().layers[1]
    layers = [module._weights().layers[0], [w._replace(gain_ih=None, gain_hh=None) for w in above]]
    with pytest.raises(RuntimeError, match="layer 1: expected 2 weights of layer normalisation, got 0"):
        fusedrnn.functional.gru(torch.randn(T, B, I, dtype=torch.float64), None, layers)
    module.layer_norm = False
    with pytest.raises(RuntimeError, match=r"weights: expected 8 .*, got 12"):
        module(torch.randn(T, B, I, dtype=torch.float64))
