"""`zoneout=` and `recurrent_dropout=` of the modules: evaluation and training, rates, seeds, dtypes, copies, replacing.

The formulas of random steps are tested in tests/reference/test_noise.py, the engines in tests/operators/test_extras.py.
"""

import copy
import itertools
import math
import pickle

import pytest
import torch
from contract_cases import LAYERS, tensors, total
from torch import nn

from fusedrnn import FusedGRU, FusedLSTM, FusedLSTMCell, FusedRNN, functional, replace_rnns, restore_rnns

T, B, I, H = 5, 3, 3, 4
BACKENDS = ("reference", "aten", None, pytest.param("triton", marks=pytest.mark.slow))
KINDS = {
    "zoneout of a GRU": (FusedGRU, {"zoneout": 0.3}),
    "zoneout of a GRU, reset before": (FusedGRU, {"zoneout": 0.3, "reset_after": False}),
    "zoneout of an LSTM": (FusedLSTM, {"zoneout": (0.3, 0.2)}),
    "zoneout of c": (FusedLSTM, {"zoneout": (0.0, 0.4)}),
    "zoneout of an RNN": (FusedRNN, {"zoneout": 0.3}),
    "recurrent dropout of a GRU": (FusedGRU, {"recurrent_dropout": 0.3}),
    "recurrent dropout of an LSTM": (FusedLSTM, {"recurrent_dropout": 0.3}),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


def build(kind, **more):
    torch.manual_seed(1)
    cls, options = KINDS[kind]
    return cls(I, H, **{"dtype": torch.float64, **options, **more})


def seeded(call, seed=2):
    torch.manual_seed(seed)
    return tensors(call())


def x_of(*shape, dtype=torch.float64):
    return torch.randn(*(shape or (T, B)), I, dtype=dtype, generator=torch.Generator().manual_seed(9))


def test_in_evaluation_an_lstm_takes_the_expectation_of_each_step(backend):
    module = FusedLSTM(I, H, zoneout=(0.3, 0.2), backend=backend, dtype=torch.float64).eval()
    cell = FusedLSTMCell(I, H, dtype=torch.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
    x, (h, c) = x_of(), torch.randn(2, B, H, dtype=torch.float64)
    output, (h_n, c_n) = module(x, (h[None], c[None]))
    for t in range(T):
        new_h, new_c = cell(x[t], (h, c))
        h, c = 0.7 * new_h + 0.3 * h, 0.8 * new_c + 0.2 * c
        torch.testing.assert_close(output[t], h)
    torch.testing.assert_close(h_n[0], h)
    torch.testing.assert_close(c_n[0], c)


@pytest.mark.parametrize("kind", ["recurrent dropout of a GRU", "recurrent dropout of an LSTM"])
def test_in_evaluation_recurrent_dropout_is_torchs_layer(kind, backend):
    module = build(kind, num_layers=2, bidirectional=True, backend=backend).eval()
    theirs = getattr(nn, module.mode)(I, H, 2, bidirectional=True, dtype=torch.float64)
    theirs.load_state_dict(module.state_dict())
    torch.testing.assert_close(tensors(module(x_of())), tensors(theirs(x_of())))


def test_evaluation_draws_nothing_and_training_a_seed_a_layer(kind, backend):
    module, x = build(kind, num_layers=3, backend=backend), x_of()
    module.eval()
    before = torch.get_rng_state()
    assert all(map(torch.equal, tensors(module(x)), tensors(module(x))))
    assert torch.equal(torch.get_rng_state(), before)
    module.train()
    seeded(lambda: module(x))
    found = torch.get_rng_state()
    torch.manual_seed(2)
    torch.randint(-(1 << 63), (1 << 63) - 1, (3,))
    assert torch.equal(found, torch.get_rng_state())


def test_a_seed_gives_the_same_on_every_backend_and_another_one_something_else(kind, backend):
    module, x = build(kind, num_layers=2, bidirectional=True, backend=backend), x_of()
    reference = build(kind, num_layers=2, bidirectional=True, backend="reference")
    found = seeded(lambda: module(x))
    torch.testing.assert_close(found, seeded(lambda: reference(x)), rtol=1e-10, atol=1e-11)
    assert all(map(torch.equal, found, seeded(lambda: module(x))))
    assert not torch.equal(found[0], seeded(lambda: module(x), 3)[0])
    assert not torch.equal(module(x)[0], module(x)[0])


@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_h_and_c_are_kept_at_their_rates_by_masks_of_their_own_in_every_layer_and_direction(backend):
    module = FusedLSTM(I, 16, 2, bidirectional=True, zoneout=(0.3, 0.2), backend=backend)
    _, _, every = module(x_of(30, 8, dtype=torch.float32), return_all_states=True)
    kept = {}
    for layer, states in enumerate(every):
        for name, p, rows in zip("hc", (0.3, 0.2), states, strict=True):
            for way, part in enumerate(rows.chunk(2, -1)):
                mask = kept[layer, name, way] = (part[1:] == part[:-1]).flatten().double()
                assert abs(mask.mean() - p) < 5 * math.sqrt(p * (1 - p) / len(mask))
    for one, other in ((a, b) for a in kept for b in kept if a < b):
        assert abs(torch.corrcoef(torch.stack([kept[one], kept[other]]))[0, 1]) < 5 / math.sqrt(len(kept[one]))


def test_of_one_probability_c_is_not_kept():
    module = FusedLSTM(I, 16, zoneout=0.5)
    _, _, ((h, c),) = module(x_of(30, 8, dtype=torch.float32), return_all_states=True)
    assert (h[1:] == h[:-1]).float().mean() > 0.4
    assert (c[1:] != c[:-1]).all()


@pytest.mark.parametrize("variational", [False, True])
def test_what_is_dropped_of_the_candidate_is_not_remembered(variational, backend):
    module = FusedLSTM(I, 16, recurrent_dropout=0.25, variational=variational, backend=backend)
    x = x_of(6, 40, dtype=torch.float32)
    _, _, ((_, c),) = module(x, return_all_states=True)
    _, _, ((_, expected),) = module.eval()(x, return_all_states=True)
    dropped = c[0] == 0  # c_0 is zero, so that c_1 is i m g
    assert abs(dropped.double().mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / dropped.numel())
    torch.testing.assert_close(c[0][~dropped], expected[0][~dropped] / 0.75)
    assert bool((c[:, dropped] == 0).all()) is variational


def test_a_unit_that_is_kept_at_the_first_step_has_its_initial_state(backend):
    module, h_0 = FusedRNN(I, 16, zoneout=0.5, backend=backend), torch.randn(1, 20, 16)
    output, _ = module(x_of(1, 20, dtype=torch.float32), h_0)
    assert 0.3 < (output == h_0).float().mean() < 0.7


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of infinity in the interpreter
def test_a_unit_that_is_kept_does_not_see_that_the_new_state_overflows(backend):
    module = FusedRNN(I, 16, nonlinearity="relu", zoneout=0.5, backend=backend)
    with torch.no_grad():
        module.weight_hh_l0.fill_(1e30)
    output, _ = seeded(lambda: module(x_of(dtype=torch.float32)))
    assert output.isinf().any()
    assert not output.isnan().any()


def test_gradients_of_gradients_equal_finite_differences(kind):
    module = KINDS[kind][0](2, 2, backend="aten", dtype=torch.float64, **KINDS[kind][1])
    x = torch.randn(2, 1, 2, dtype=torch.float64, requires_grad=True)

    def call(x, *weights):
        torch.manual_seed(3)
        names = [name for name, _ in module.named_parameters()]
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))[0]

    assert torch.autograd.gradgradcheck(call, (x, *module.parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_other_dtypes_have_the_same_masks(kind, dtype, backend):
    module, x = build(kind, backend=backend), x_of()
    exact = seeded(lambda: module(x))
    found = seeded(lambda: module.to(dtype)(x.to(dtype)))
    tolerance = 0.05 if dtype == torch.bfloat16 else 0.01
    for got, want in zip(found, exact, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("backend", ["reference", "aten", None])
def test_under_autocast_dtypes_are_torchs_and_masks_the_same(kind, backend):
    module, x = build(kind, dtype=torch.float32, backend=backend), x_of(dtype=torch.float32)
    theirs = nn.GRU if module.mode == "GRU" else nn.LSTM if module.mode == "LSTM" else nn.RNN
    exact = seeded(lambda: module(x))
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = seeded(lambda: module(x)), tensors(theirs(I, H)(x))
    for got, want, near in zip(found, expected, exact, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got.float(), near, rtol=0, atol=0.05)


@pytest.mark.parametrize("backend", ["reference", "aten", None])
def test_another_default_device_changes_nothing(kind, backend):
    module, x = build(kind, backend=backend), x_of()
    expected = seeded(lambda: module(x))
    with torch.device("meta"):
        found = seeded(lambda: module(x))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("training", [False, True])
def test_the_functions_have_the_options_too(kind, backend, training):
    module, x = build(kind, num_layers=2, bidirectional=True, variational=True, backend=backend).train(training), x_of()
    function = {FusedGRU: functional.gru, FusedLSTM: functional.lstm, FusedRNN: functional.rnn}[KINDS[kind][0]]
    options = {"training": training, "variational": True, "backend": backend, **KINDS[kind][1]}
    found = seeded(lambda: function(x, None, module._weights().layers, **options))
    assert all(map(torch.equal, found, seeded(lambda: module(x))))


def test_copies_and_pickles_have_the_option(kind):
    module, x = build(kind), x_of()
    expected = seeded(lambda: module(x))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module)
        assert all(map(torch.equal, seeded(lambda other=other: other(x)), expected))
    for name, value in KINDS[kind][1].items():
        assert f", {name}={value!r}" in repr(module)


def test_an_option_that_is_assigned_later_acts_from_then_on(kind):
    cls, options = KINDS[kind]
    module, x = build(kind), x_of()
    plain = cls(I, H, dtype=torch.float64, **{k: v for k, v in options.items() if k == "reset_after"})
    plain.load_state_dict(module.state_dict())
    expected, random = tensors(plain(x)), seeded(lambda: module(x))
    for name in ("zoneout", "recurrent_dropout"):
        value = getattr(module, name)
        setattr(module, name, 0.0)
        setattr(plain, name, value)
    torch.testing.assert_close(tensors(module(x)), expected)
    torch.testing.assert_close(seeded(lambda: plain(x)), random)


@pytest.mark.parametrize("name", LAYERS)
def test_replaced_modules_have_none_of_them(name):
    theirs, fused = LAYERS[name]
    model = nn.ModuleList([theirs(I, H)])
    replace_rnns(model)
    assert repr(model[0]) == repr(fused(I, H))
    assert (model[0].zoneout, model[0].recurrent_dropout, model[0].heads) == (0.0, 0.0, 1)
    restore_rnns(model)
    assert repr(model[0]) == repr(theirs(I, H))
    assert not hasattr(model[0], "zoneout")


def test_a_pair_of_zeros_is_no_zoneout():
    module = FusedLSTM(I, H, zoneout=(0.0, 0))
    assert repr(module) == repr(FusedLSTM(I, H))
    assert not restore_rnns(module).left
    assert type(module) is nn.LSTM


def test_the_loss_of_a_packed_batch_reaches_every_weight(kind, backend):
    module, x = build(kind, num_layers=2, bidirectional=True, backend=backend), x_of().requires_grad_()
    rows = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 2]))
    gradients = torch.autograd.grad(total(module(rows)), [x, *module.parameters()])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_every_layer_has_masks_of_its_own(backend):
    gru = FusedGRU(4, 40, 3, zoneout=0.5, backend=backend)
    _, _, every = gru(torch.randn(9, 2, 4), return_all_states=True)
    kept = [h[1:] == h[:-1] for h in every]  # a unit that did not change kept its state
    for a, b in itertools.combinations(kept, 2):
        assert 0.3 < (a == b).float().mean() < 0.7
