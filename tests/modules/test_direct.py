"""The short way for common calls on a CPU: when it is taken and when not, with the results of the general way."""

import pytest
import torch
from contract_cases import LAYERS, flat, hx_of, tensors, total
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, FusedRNNCell, use_backend
from fusedrnn.backends import rules
from fusedrnn.call import Call, Spec, Weights
from fusedrnn.modules import base


@pytest.fixture(params=[FusedGRU, FusedLSTM, FusedRNN], ids=LAYERS)
def kind(request):
    return request.param


@pytest.fixture
def ways(monkeypatch):
    """Whether each call took the short way."""
    taken = []

    def noted(*args, original=base.run_directly):
        found = original(*args)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(base, "run_directly", noted)
    return taken


def general_only(monkeypatch):
    """From here on no call takes the short way."""
    monkeypatch.setattr(base, "run_directly", lambda *args: None)


COMMON = {
    "one layer": {},
    "layers": {"num_layers": 2, "bidirectional": True, "bias": False},
    "batch first": {"batch_first": True, "num_layers": 2},
}


@pytest.mark.parametrize("options", COMMON.values(), ids=COMMON)
@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
def test_both_ways_give_the_same(kind, ways, monkeypatch, options, given):
    module, x = kind(3, 4, **options), torch.randn(5, 2, 3, requires_grad=True)
    batch = 5 if options.get("batch_first") else 2
    hx = hx_of(module, module.num_layers * (1 + module.bidirectional), batch, 4, requires_grad=True) if given else None
    found = []
    for _ in range(2):
        result = module(x, hx)
        found.append([*tensors(result), *torch.autograd.grad(total(result), [x, *module.parameters()])])
        general_only(monkeypatch)
    assert ways == [True]
    for short, general in zip(*found, strict=True):
        torch.testing.assert_close(short, general)
        assert short.stride() == general.stride()
        assert short.requires_grad == general.requires_grad


def test_other_calls_take_the_general_way(kind, ways):
    x = torch.randn(5, 2, 3)
    kind(3, 4, 2, dropout=0.5, backend="aten")(x)
    kind(3, 4, 2, dropout=0.5, variational=True, batch_first=True)(x)
    kind(3, 4, backend="reference")(x)
    kind(3, 4, memory="recompute")(x)
    with use_backend("reference"):
        kind(3, 4)(x)
    kind(3, 4, device="meta")(x.to("meta"))
    torch.vmap(kind(3, 4))(x.unsqueeze(0))
    assert not any(ways)
    kind(3, 4, weight_dropout=0.5, backend="aten")(x)
    kind(3, 4, input_dropout=0.5)(x)
    assert not any(ways)
    every = ({"dropout": 0.5}, {"dropout": 0.5, "variational": True}, {"weight_dropout": 0.5})
    for module in (*(kind(3, 4, 2, **options) for options in every), kind(3, 4, 2, dropout=0.5, backend="aten").eval()):
        module(x)
        assert ways.pop()


@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("vocabulary", [None, 7, 5000], ids=["features", "ids", "few of many ids"])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "bias": False}], ids=["one way", "two ways"])
def test_one_mask_for_all_steps_is_the_same_on_both_ways(kind, ways, monkeypatch, options, steps, vocabulary, given):
    module = kind(vocabulary or 3, 4, 3, dropout=0.5, variational=True, **options)
    x = torch.randn(steps, 2, 3) if vocabulary is None else torch.randint(vocabulary, (steps, 2))
    leaves = [*module.parameters(), *((x.requires_grad_(),) if vocabulary is None else ())]
    hx = hx_of(module, 3 * (1 + module.bidirectional), 2, 4, requires_grad=True) if given else None
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        result = module(x, hx)
        grads = torch.autograd.grad(total(result), [*leaves, *(flat(hx) if given else ())])
        found.append([*tensors(result), *grads, torch.get_rng_state()])
        general_only(monkeypatch)
    assert ways == [True]
    for short, general in zip(*found, strict=True):
        torch.testing.assert_close(short, general)
    output = found[0][0]
    assert output.count_nonzero() == output.numel()


def test_a_projection_takes_the_short_way(ways, monkeypatch):
    module, x = FusedLSTM(3, 4, 2, proj_size=2), torch.randn(5, 2, 3)
    short = tensors(module(x))
    general_only(monkeypatch)
    for a, b in zip(short, tensors(module(x)), strict=True):
        torch.testing.assert_close(a, b)
    assert ways == [True]


FORMS = {
    "unbatched": (lambda: torch.randn(5, 3), ()),
    "packed": (lambda: pack_sequence([torch.randn(n, 3) for n in (2, 4, 1)], enforce_sorted=False), (3,)),
    "packed, sorted": (lambda: pack_sequence([torch.randn(n, 3) for n in (4, 2)]), (2,)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
def test_other_forms_take_the_short_way_too(kind, ways, monkeypatch, form, batch_first, given):
    make, batch = form
    module, x = kind(3, 4, 2, batch_first=batch_first), make()
    hx = hx_of(module, 2, *batch, 4) if given else None
    short = tensors(module(x, hx))
    assert any(ways)
    general_only(monkeypatch)
    for a, b in zip(short, tensors(module(x, hx)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("cell", [FusedGRUCell, FusedLSTMCell, FusedRNNCell])
def test_cells_have_a_short_way(cell, monkeypatch, given):
    module, x = cell(3, 4), torch.randn(2, 3)
    hx = hx_of(module, 2, 4) if given else None
    short = module._step_directly(x, () if hx is None else tuple(flat(hx)), 1 + (cell is FusedLSTMCell))
    assert short is not None
    monkeypatch.setattr(cell, "_step_directly", lambda *args: None)
    for a, b in zip(short, flat(module(x, hx)), strict=True):
        torch.testing.assert_close(a, b)
    monkeypatch.undo()
    count = len(short)
    for bad in (x[0], x.double(), x[:, :2], torch.tensor([0, 1])):
        assert module._step_directly(bad, (), count) is None
    good = torch.zeros(2, 4)
    for bad in (good[0], good.unsqueeze(2), good.double(), good[:1], good[:, :3], good.to("meta")):
        for place in range(count):
            states = tuple(bad if i == place else good for i in range(count))
            assert module._step_directly(x, states, count) is None, (bad.shape, bad.dtype, place)
    assert cell(3, 4, backend="reference")._step_directly(x, (), 1) is None
    assert FusedGRUCell(3, 4, reset_after=False)._step_directly(x, (), 1) is None


def test_reset_before_has_no_short_way(ways):
    FusedGRU(3, 4, reset_after=False)(torch.randn(5, 2, 3))
    assert ways == [False]


def behind(node):
    """The names of a node and of all that follow its first inputs."""
    return [] if node is None else [node.name(), *behind(node.next_functions[0][0] if node.next_functions else None)]


def test_a_gru_of_many_small_steps_trains_by_the_sweeps_and_runs_by_torchs(ways):
    gru = FusedGRU(3, 4)

    def by_hand(spec, x):
        return rules.loop_trains_faster(Call(spec, Weights(list(gru.parameters()), 1, bias=True, projected=False), x))

    for steps, batch, wins in ((32, 2, True), (15, 2, False), (32, 700, False)):
        x = torch.randn(steps, batch, 3)
        output, _ = gru(x)
        assert any("sweep" in name for name in behind(output.grad_fn)) == wins
        assert by_hand(gru._spec(), x) == wins
        with torch.no_grad():
            ways.clear()
            gru(x)
            assert ways == [True]
            assert not by_hand(gru._spec(), x)
    assert not by_hand(Spec("lstm", 3, 4, 4), torch.randn(64, 1, 3))


def test_every_rule_has_a_reason_and_the_last_of_each_backend_always_holds():
    assert (*rules.NAMES, rules.AUTO) == ("reference", "aten", "triton", "auto")
    for applying in rules.BY_NAME.values():
        assert applying[-1].when is rules.always
        assert all(rule.why and rule.engine in rules.ENGINES for rule in applying)


@pytest.mark.parametrize("form", ["recompute", "all states"])
def test_the_output_of_many_small_steps_may_be_changed_in_place_whatever_the_form(form):
    gru = FusedGRU(3, 4, memory="recompute" if form == "recompute" else "save")
    output = gru(torch.randn(40, 2, 3), return_all_states=form == "all states")[0]
    output.mul_(2)
    output.sum().backward()
    assert gru.weight_hh_l0.grad.any()


def test_complex_numbers_go_to_torch(kind):
    ours, theirs = (k(3, 4, dtype=torch.complex64) for k in (kind, getattr(torch.nn, kind.__name__[5:])))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 2, 3, dtype=torch.complex64)
    for backend in ("auto", "aten"):
        ours.backend = backend
        torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_a_missing_weight_is_named(kind):
    module = kind(3, 4)
    del module.bias_hh_l0
    for backend in ("auto", "reference"):
        module.backend = backend
        with pytest.raises(AttributeError, match="bias_hh_l0"):
            module(torch.randn(5, 2, 3))


def test_a_replaced_weight_of_another_shape_is_named(kind):
    module = kind(3, 4)
    module.weight_hh_l0 = torch.nn.Parameter(torch.randn(5, 4))
    with pytest.raises(RuntimeError, match=r"^w_hh of layer 0: expected shape \(\d+, 4\), got \(5, 4\)$"):
        module(torch.randn(5, 2, 3))


def both_ways(module, monkeypatch, *args):
    """The results of a call, or type and text of its error, by the short way if it serves the call and by the general one."""
    found = []
    for _ in range(2):
        try:
            found.append([part.tolist() for part in tensors(module(*args))])
        except (RuntimeError, ValueError, TypeError) as error:
            found.append((type(error), str(error)))
        general_only(monkeypatch)
    return found


REFUSED = {
    "input_size": {"input_size": 2},
    "hidden_size": {"hidden_size": 5},
    "float hidden_size": {"hidden_size": 4.0},
    "more layers": {"num_layers": 3},
    "no dropout": {"dropout": None},
    "weight's device": {"weight_ih_l0": nn.Parameter(torch.zeros(16, 3, device="meta"))},
    "weight's dtype": {"weight_ih_l0": nn.Parameter(torch.zeros(16, 3, dtype=torch.float64))},
}
SERVED = {"bias": {"bias": 1}, "batch_first": {"batch_first": 1}, "bidirectional": {"bidirectional": []}}


@pytest.mark.parametrize(
    ("changed", "served"),
    [*((change, False) for change in REFUSED.values()), *((change, True) for change in SERVED.values())],
    ids=[*REFUSED, *SERVED],
)
def test_a_changed_module_is_refused_or_run_both_ways_alike(monkeypatch, changed, served):
    FusedLSTM(3, 4, 2)(torch.randn(5, 2, 3))  # what the sizes of a module mean is kept for all modules
    module = FusedLSTM(3, 4, 2)
    for name, value in changed.items():
        setattr(module, name, value)
    short, general = both_ways(module, monkeypatch, torch.randn(5, 2, 3))
    assert short == general
    assert isinstance(short, list) == served


OTHER_WEIGHTS = {
    "fewer layers": ({}, {"num_layers": 1}, "expected 4 for num_layers=1, bidirectional=False, bias=True, got 8"),
    "bias": ({"bias": False}, {"bias": True}, "expected 8 for num_layers=2, bidirectional=False, bias=True, got 4"),
    "both ways": ({}, {"bidirectional": True}, "expected 16 for num_layers=2, bidirectional=True, bias=True, got 8"),
    "no projection": ({"proj_size": 2}, {"proj_size": 0}, "expected 8 for .*, bias=True, got 10"),
    "projection": ({}, {"proj_size": 2}, "expected 10 for .*, bias=True, a projection, got 8"),
}


@pytest.mark.parametrize(("options", "changed", "message"), OTHER_WEIGHTS.values(), ids=OTHER_WEIGHTS)
def test_attributes_that_require_other_weights_are_named(options, changed, message):
    module = FusedLSTM(3, 4, 2, **options)
    for name, value in changed.items():
        setattr(module, name, value)
    with pytest.raises(RuntimeError, match=f"^weights: {message}$"):
        module(torch.randn(5, 2, 3))


@pytest.mark.parametrize("name", ["weight_ih_l0", "bias_hh_l0"])
def test_a_weight_that_is_none_is_named(kind, name):
    module = kind(3, 4)
    setattr(module, name, None)
    with pytest.raises(TypeError, match=f"^{name}: expected a tensor, got None$"):
        module(torch.randn(5, 2, 3))


def test_parametrized_weights_are_computed_once_a_call(kind, ways):
    calls = []

    class Counted(nn.Module):
        def forward(self, weight):
            calls.append(1)
            return weight

    module = kind(3, 4)
    nn.utils.parametrize.register_parametrization(module, "weight_hh_l0", Counted())
    for dtype in (torch.float32, torch.bfloat16):
        calls.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            module(torch.randn(5, 2, 3, dtype=dtype))
        assert len(calls) == 1
    assert not any(ways)


def test_packed_rows_of_more_dimensions_are_refused(kind):
    with pytest.raises(RuntimeError, match=r"^input must have 2 dimensions, got 3$"):
        kind(3, 4)(PackedSequence(torch.randn(4, 1, 3), torch.tensor([2, 2])))


@pytest.mark.parametrize("order", [None, torch.tensor([0])], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
def test_packed_input_without_steps_is_refused(kind, order, given):
    module, none = kind(3, 4), torch.tensor([], dtype=torch.int64)
    wrong = (
        r"hidden.* size \(1, 0, 4\), got \[1, 1, 4\]" if given else "sequence length to be larger than 0 in RNN, got 0"
    )
    with pytest.raises(RuntimeError, match=f"^Expected {wrong}$"):
        module(PackedSequence(torch.randn(0, 3), none, order, order), hx_of(module, 1, 1, 4) if given else None)


def test_a_projection_as_wide_as_h_is_left_to_the_general_way(monkeypatch):
    module = FusedLSTM(4, 4, 2, bias=False, proj_size=3)
    module.proj_size = 4
    for name, weight in module.named_parameters():
        setattr(module, name, nn.Parameter(torch.randn(4 if "hr" in name else len(weight), 4)))
    short, general = both_ways(module, monkeypatch, torch.randn(5, 2, 4))
    assert short == general
    assert isinstance(short, list)


ZERO = torch.zeros(2, 2, 4)
STATES = {
    "rows": ZERO[:1],
    "batch": ZERO[:, :1],
    "width": ZERO[..., :3],
    "dtype": ZERO.double(),
    "device": ZERO.to("meta"),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("place", [0, 1], ids=["h", "c"])
def test_bad_states_are_refused_both_ways_alike(monkeypatch, state, place):
    short, general = both_ways(
        FusedLSTM(3, 4, 2), monkeypatch, torch.randn(5, 2, 3), tuple(state if i == place else ZERO for i in range(2))
    )
    assert isinstance(short, tuple)
    assert short == general


@pytest.mark.parametrize("sizes", [(0, 2, 3), (5, 2, 2), (5, 0, 3)], ids=["no step", "features", "no sample"])
def test_odd_inputs_are_refused_or_run_both_ways_alike(kind, monkeypatch, sizes):
    short, general = both_ways(kind(3, 4), monkeypatch, torch.randn(sizes))
    assert short == general
    assert isinstance(short, tuple) == (sizes[1] > 0)


def test_a_subclass_may_have_an_attribute_named_cell(kind):
    class Model(kind):
        def __init__(self):
            super().__init__(3, 4)
            self.cell = torch.nn.Linear(4, 4)

    model = Model()
    assert isinstance(model.cell, torch.nn.Linear)
    assert model(torch.randn(5, 2, 3))[0].shape == (5, 2, 4)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "dropout": 0.5}], ids=["one layer", "dropout"])
@pytest.mark.parametrize("steps", [1, 5])
def test_dtypes_under_autocast_are_those_of_torchs(kind, steps, options):
    theirs = {FusedGRU: nn.GRU, FusedLSTM: nn.LSTM, FusedRNN: nn.RNN}[kind](3, 4, **options)
    ours, x = kind(3, 4, **options), torch.randn(steps, 2, 3)
    ours.load_state_dict(theirs.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        found = []
        for module in (theirs, ours):
            torch.manual_seed(1)
            found.append(tensors(module(x)))
    for expected, got in zip(*found, strict=True):
        assert got.dtype == expected.dtype
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("ids", [3, 40])
def test_ids_are_made_features_on_their_own_device(kind, ids):
    module, tokens = kind(5000, 64), torch.randint(5000, (ids, 8))
    expected = module(tokens)[0]
    with torch.device("meta"):
        assert torch.equal(module(tokens)[0], expected)
