"""Opacus: per-sample gradients of our layers are right, and calls for which it would compute wrong ones are refused."""

import copy
import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.utils._per_sample_grad  # before a test exports to ONNX: it keeps the RNNs that torch has while it is imported
from opacus import GradSampleModule, PrivacyEngine
from opacus.grad_sample import GradSampleModuleExpandedWeights, GradSampleModuleFastGradientClipping
from opacus.layers import DPGRU, DPLSTM
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, TensorDataset

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, replace_rnns

pytestmark = [
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),  # of torch, for every first layer
    pytest.mark.filterwarnings("ignore:Secure RNG turned off:UserWarning"),
    pytest.mark.filterwarnings("ignore:Optimal order is the largest alpha:UserWarning"),
]

ROOT = Path(__file__).parents[2]
I, H, T, B = 3, 4, 5, 3
LAYERS = (FusedGRU, FusedLSTM)
VARIANTS = {
    "GRU": (FusedGRU, {}),
    "GRU, reset before": (FusedGRU, {"reset_after": False}),
    "GRU, two layers, two ways": (FusedGRU, {"num_layers": 2, "bidirectional": True}),
    "GRU, no bias, recompute": (FusedGRU, {"bias": False, "memory": "recompute"}),
    "GRU, heads": (FusedGRU, {"heads": 2, "num_layers": 2}),
    "GRU on the kernels": (FusedGRU, {"backend": "triton"}),
    "GRU on aten": (FusedGRU, {"backend": "aten", "num_layers": 2}),
    "LSTM": (FusedLSTM, {}),
    "LSTM, three layers, two ways": (FusedLSTM, {"num_layers": 3, "bidirectional": True}),
    "LSTM, projection": (FusedLSTM, {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    "LSTM, heads, two ways": (FusedLSTM, {"heads": 2, "bidirectional": True}),
    "LSTM on the reference": (FusedLSTM, {"backend": "reference", "bias": False}),
}


class Model(nn.Module):
    """A recurrent layer and a head; the loss of a sample is odd in every output."""

    def __init__(self, layer, batch_first=True, **options):
        super().__init__()
        self.rnn = layer(I, H, batch_first=batch_first, dtype=torch.float64, **options)
        width = (self.rnn.proj_size or H) * (1 + self.rnn.bidirectional)
        self.head = nn.Linear(width, 2, dtype=torch.float64)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).sin()


class Last(Model):
    """The output of the last step."""

    def forward(self, x):
        return super().forward(x)[:, -1]


def loss_of(output, batch_first=True):
    """The sum of a loss of each sample."""
    return (output if batch_first else output.transpose(0, 1)).flatten(1).square().sum(1).sum()


def by_hand(model, x, dim=0):
    """The gradients of every parameter for every sample: a backward for each."""
    found = []
    for k in range(x.shape[dim]):
        model.zero_grad()
        model(x.narrow(dim, k, 1)).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    model.zero_grad()
    return [torch.stack(column) for column in zip(*found, strict=True)]


def check(sampler, expected, scale=1.0):
    for p, e in zip(sampler.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad_sample, scale * e, rtol=1e-10, atol=1e-12)


def assert_right(model, x):
    """GradSampleModule gives the gradients of a backward for each sample."""
    expected = by_hand(model, x)
    sampler = GradSampleModule(model, loss_reduction="sum")
    loss_of(sampler(x)).backward()
    check(sampler, expected)


@pytest.fixture(params=LAYERS, ids=["GRU", "LSTM"])
def layer(request):
    return request.param


@pytest.mark.parametrize("batch", [B, 1])
@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "time first"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_every_sample(variant, batch_first, batch):
    kind, options = VARIANTS[variant]
    if options.get("backend") == "triton":
        pytest.importorskip("triton")
    model = Model(kind, batch_first, **options)
    x = torch.randn(*((batch, T) if batch_first else (T, batch)), I, dtype=torch.float64)
    expected = by_hand(model, x, 0 if batch_first else 1)
    sampler = GradSampleModule(model, batch_first=batch_first, loss_reduction="sum")
    loss_of(sampler(x), batch_first).backward()
    check(sampler, expected)


@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "time first"])
def test_token_ids(layer, batch_first):
    model, ids = Model(layer, batch_first), torch.randint(0, I, (B, T) if batch_first else (T, B))
    expected = by_hand(model, ids, 0 if batch_first else 1)
    sampler = GradSampleModule(model, batch_first=batch_first, loss_reduction="sum")
    loss_of(sampler(ids), batch_first).backward()
    check(sampler, expected)


def test_mean_losses_functorch_mode_and_long_sequences(layer):
    model, x = Model(layer), torch.randn(B, 40, I, dtype=torch.float64)
    expected = by_hand(model, x)
    sampler = GradSampleModule(model, force_functorch=True)
    (loss_of(sampler(x)) / B).backward()
    check(sampler, expected)


def test_an_empty_batch(layer):
    sampler = GradSampleModule(Model(layer), loss_reduction="sum")
    loss_of(sampler(torch.zeros(0, T, I, dtype=torch.float64))).backward()
    for p in sampler.parameters():
        assert p.grad_sample.shape == (0, *p.shape)


def test_what_comes_before_gets_its_gradient(layer, monkeypatch):
    """Opacus sets flags of cuDNN for an embedding, which torch's own test helpers forbid once they are imported."""
    monkeypatch.setitem(torch.backends.flags_frozen.__globals__, "__allow_nonbracketed_mutation_flag", True)

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.model = nn.Embedding(7, I, dtype=torch.float64), Model(layer)

        def forward(self, ids):
            return self.model(self.words(ids))

    model, ids = Words(), torch.randint(0, 7, (B, T))
    expected = by_hand(model, ids)
    sampler = GradSampleModule(model, loss_reduction="sum")
    loss_of(sampler(ids)).backward()
    check(sampler, expected)


def test_a_layer_that_is_used_twice(layer):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = layer(I, I, batch_first=True, dtype=torch.float64)

        def forward(self, x):
            return self.rnn(self.rnn(x)[0])[0]

    model, x = Twice(), torch.randn(B, T, I, dtype=torch.float64)
    assert_right(model, x)


def test_frozen_weights_get_none(layer):
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    expected = by_hand(model, x)
    model.rnn.weight_hh_l0.requires_grad_(False)
    sampler = GradSampleModule(model, loss_reduction="sum")
    loss_of(sampler(x)).backward()
    for (name, p), e in zip(model.named_parameters(), expected, strict=True):
        if name == "rnn.weight_hh_l0":
            assert not hasattr(p, "grad_sample")
        else:
            torch.testing.assert_close(p.grad_sample, e, rtol=1e-10, atol=1e-12)


def test_parametrized_weights_and_subclasses(layer):
    class Own(layer):
        pass

    model, x = Model(Own), torch.randn(B, T, I, dtype=torch.float64)
    parametrizations.weight_norm(model.rnn, "weight_hh_l0")
    assert_right(model, x)


@pytest.mark.parametrize("theirs", [DPGRU, DPLSTM])
def test_as_the_layers_of_opacus(theirs):
    x = torch.randn(B, T, I)
    mine = theirs(I, H, num_layers=2, bidirectional=True, batch_first=True)
    ours = (FusedGRU if theirs is DPGRU else FusedLSTM)(I, H, 2, bidirectional=True, batch_first=True)
    ours.load_state_dict(mine.state_dict())
    found = []
    for module in (mine, ours):
        sampler = GradSampleModule(module, loss_reduction="sum")
        loss_of(sampler(x)[0]).backward()
        found.append({name: p.grad_sample for name, p in module.named_parameters()})
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_ghost_clipping_sees_the_right_norms(layer):
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    expected = torch.stack([e.flatten(1).norm(dim=1) for e in by_hand(model, x)]).norm(dim=0)
    sampler = GradSampleModuleFastGradientClipping(model, loss_reduction="sum")
    loss_of(sampler(x)).backward()
    torch.testing.assert_close(sampler.get_norm_sample(), expected)


def test_expanded_weights(layer):
    """torch's own way to gradients of each sample, which Opacus can use too."""
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    expected = by_hand(model, x)
    sampler = GradSampleModuleExpandedWeights(model, loss_reduction="sum")
    loss_of(sampler(x)).backward()
    check(sampler, expected)


def test_autocast(layer):
    model, x = Model(layer).float(), torch.randn(B, T, I)
    expected = by_hand(model, x)
    sampler = GradSampleModule(model, loss_reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        output = sampler(x)
    loss_of(output).backward()
    for p, e in zip(sampler.parameters(), expected, strict=True):
        assert (p.grad_sample - e).norm() < 0.05 * e.norm()  # bfloat16: 8 bits


STATES = "a loss of the output alone, got one that depends on the states"
STATE = torch.zeros(1, B, H)
REFUSED = {
    "hx": ({}, lambda rnn, x: rnn(x, start(rnn)), "the input alone, got hx"),
    "hx by name": ({}, lambda rnn, x: rnn(x, hx=start(rnn)), "the input alone, got hx"),
    "lengths": ({}, lambda rnn, x: rnn(x, lengths=torch.tensor([T, 2, 1])), "the input alone, got lengths"),
    "lengths by position": ({}, lambda rnn, x: rnn(x, None, torch.tensor([T, 2, 1])), "the input alone, got lengths"),
    "packed": ({}, lambda rnn, x: rnn(pack_sequence([x[0], x[1, :2]])), "a tensor, got a PackedSequence"),
    "unbatched": ({}, lambda rnn, x: rnn(x[0]), "batched input, got unbatched input"),
    "unbatched ids": ({}, lambda rnn, x: rnn(torch.tensor([0, 1])), "batched input, got unbatched input"),
    "dropout": ({"num_layers": 2, "dropout": 0.1}, lambda rnn, x: rnn(x), "no dropout inside, .* got dropout=0.1"),
    "input dropout": ({"input_dropout": 0.2}, lambda rnn, x: rnn(x), "no dropout inside, .* got input_dropout=0.2"),
    "weight dropout": ({"weight_dropout": 0.3}, lambda rnn, x: rnn(x), "no dropout inside, .* got weight_dropout=0.3"),
    "zoneout": ({"zoneout": 0.2}, lambda rnn, x: rnn(x), "no dropout inside, .* got zoneout=0.2"),
    "recurrent dropout": (
        {"recurrent_dropout": 0.2},
        lambda rnn, x: rnn(x),
        "no dropout inside, .* got recurrent_dropout=0.2",
    ),
    "resets": ({}, lambda rnn, x: rnn(x, resets=x[..., 0] > 0), "the input alone, got resets"),
    "time first": ({"batch_first": False}, lambda rnn, x: rnn(x), "batch_first=True, .* got batch_first=False"),
}


def start(rnn):
    """Initial states."""
    return (STATE, STATE) if isinstance(rnn, FusedLSTM) else STATE


def flat(part):
    """All tensors in nested tuples."""
    return [part] if isinstance(part, torch.Tensor) else [t for inner in part for t in flat(inner)]


@pytest.mark.parametrize("case", REFUSED)
def test_refused_calls(layer, case):
    options, call, message = REFUSED[case]
    sampler = GradSampleModule(layer(I, H, **{"batch_first": True, **options}))
    theirs = r"opacus\.layers\.DP" + ("LSTM" if layer is FusedLSTM else "GRU")
    with pytest.raises(RuntimeError, match=f"{layer.__name__} under Opacus: expected {message}; .* wrong.*{theirs}"):
        call(sampler._module, torch.randn(B, T, I))


def test_dropout_of_a_single_layer_drops_nothing(layer):
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    model.rnn.dropout = 0.5
    assert_right(model, x)


class Doubled(FusedGRU):
    """A forward of its own."""

    def forward(self, x):
        return super().forward(2 * x)


def change_output(rnn):
    rnn.register_forward_hook(lambda module, given, result: (2 * result[0], result[1]))


def old_weight_norm(rnn):
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.nn.utils.weight_norm(rnn, "weight_hh_l0")


def own_forward(rnn):
    rnn.__class__ = Doubled


CHANGED = {
    "forward hook": (change_output, "no forward hooks, .* got <function"),
    "old weight norm": (old_weight_norm, "weights that are parameters or parametrized, got weight_hh_l0"),
    "forward of its own": (own_forward, "the forward of a layer of fusedrnn, got that of"),
}


@pytest.mark.parametrize(
    ("change", "when"),  # torch itself refuses to copy a module with the old weight norm, as Opacus does at first
    [
        (change, when)
        for change in CHANGED
        for when in ("before", "after")
        if (change, when) != ("old weight norm", "before")
    ],
)
def test_modules_that_compute_something_else_are_refused(change, when):
    do, message = CHANGED[change]
    rnn = FusedGRU(I, H, batch_first=True)
    if when == "before":
        do(rnn)
    sampler = GradSampleModule(rnn)
    if when == "after":
        do(rnn)
    with pytest.raises(RuntimeError, match=f"under Opacus: expected {message}"):
        sampler(torch.randn(B, T, I))


def test_states_from_a_pre_hook_are_refused(layer):
    rnn = layer(I, H, batch_first=True)
    sampler = GradSampleModule(rnn)
    rnn.register_forward_pre_hook(lambda module, given: (*given, start(module)))
    with pytest.raises(RuntimeError, match="the input alone, got more from a forward pre-hook"):
        sampler(torch.randn(B, T, I))


def test_cached_parametrizations_are_refused(layer):
    rnn = layer(I, H, batch_first=True)
    parametrizations.weight_norm(rnn, "weight_hh_l0")
    sampler = GradSampleModule(rnn)
    with torch.nn.utils.parametrize.cached(), pytest.raises(RuntimeError, match=r"no parametrize\.cached\(\), got"):
        sampler(torch.randn(B, T, I))


@pytest.mark.parametrize("before", [False, True], ids=["first layer", "after a layer"])
@pytest.mark.parametrize("alone", [False, True], ids=["and the output", "alone"])
@pytest.mark.parametrize(("layer", "which"), [*((FusedGRU, k) for k in range(2)), *((FusedLSTM, k) for k in range(4))])
def test_losses_of_states_are_refused(layer, which, alone, before):
    sampler = GradSampleModule(layer(I, H, batch_first=True))
    x = torch.randn(B, T, I, requires_grad=before)
    output, *others = sampler(x, return_all_states=True)
    states = flat(others)
    assert len(states) == (2 if layer is FusedGRU else 4)
    loss = states[which].square().sum() + (0 if alone else output.sum())
    with pytest.raises(RuntimeError, match=f"{layer.__name__} under Opacus: expected {STATES}; "):
        loss.backward()


def test_losses_with_not_a_number_in_a_state_are_refused(layer):
    output, *others = GradSampleModule(layer(I, H, batch_first=True))(torch.randn(B, T, I))
    with pytest.raises(RuntimeError, match=STATES):
        (output.sum() + (flat(others)[0] * float("nan")).sum()).backward()


def test_states_that_are_only_looked_at_are_fine(layer):
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    expected = by_hand(model, x)
    sampler = GradSampleModule(model, loss_reduction="sum")
    output, *others = model.rnn(input=x, hx=None, return_all_states=True)
    states = flat(others)
    (loss_of(model.head(output).sin()) + 0 * states[0].sum() + states[0].detach().sum()).backward()
    check(sampler, expected)


def test_an_explicit_none_is_no_state(layer):
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    expected = by_hand(model, x)
    sampler = GradSampleModule(model, loss_reduction="sum")
    loss_of(model.head(model.rnn(x, None)[0]).sin()).backward()
    check(sampler, expected)


@pytest.mark.parametrize("off", ["evaluation", "no_grad", "frozen", "disabled", "removed", "closed"])
def test_nothing_is_refused_where_opacus_captures_nothing(layer, off):
    rnn = layer(I, H)
    sampler = GradSampleModule(rnn)
    x = torch.randn(T, B, I)
    {
        "evaluation": rnn.eval,
        "no_grad": lambda: None,
        "frozen": lambda: rnn.requires_grad_(False),
        "disabled": sampler.disable_hooks,
        "removed": sampler.remove_hooks,
        "closed": sampler.to_standard_module,
    }[off]()
    with torch.set_grad_enabled(off != "no_grad"):
        _, *states = rnn(x, start(rnn))
        if off in ("disabled", "removed", "closed"):
            flat(states)[0].sum().backward()
            assert rnn.weight_hh_l0.grad is not None
    if off in ("removed", "closed"):
        assert not rnn._forward_hooks
        assert not rnn._forward_pre_hooks
        assert not rnn._backward_hooks
        assert not hasattr(rnn, "ft_compute_sample_grad")


def test_hooks_of_others_stay_theirs(layer):
    rnn, seen = layer(I, H), []
    handle = rnn.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_output[0].shape))
    rnn(torch.randn(T, B, I), start(rnn))[0].sum().backward()
    assert seen == [(T, B, H)]
    assert not rnn._forward_hooks
    assert not rnn._forward_pre_hooks
    handle.remove()
    assert not rnn._backward_hooks


def test_a_saved_sampler_is_one_of_its_own(layer):
    model, x = Model(layer), torch.randn(B, T, I, dtype=torch.float64)
    expected = by_hand(model, x)
    file = io.BytesIO()
    torch.save(GradSampleModule(model, loss_reduction="sum"), file)
    file.seek(0)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    sampler = torch.load(file, weights_only=False)
    loss_of(sampler(x)).backward()
    check(sampler, expected)
    with pytest.raises(RuntimeError, match="got hx"):
        sampler.rnn(x, start(sampler.rnn))


@pytest.mark.parametrize("kind", [FusedGRUCell, FusedLSTMCell])
def test_cells_are_refused(kind):
    name = kind.__name__
    with pytest.raises(RuntimeError, match=f"{name} under Opacus: expected a layer, got a cell; .* Use {name[:-4]}$"):
        GradSampleModule(nn.Sequential(kind(I, H)))
    handle = kind(I, H).register_full_backward_hook(lambda *given: None)
    handle.remove()


def test_inside_a_module_with_weights_of_its_own_everything_is_differentiated(layer):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(H, dtype=torch.float64))
            self.rnn = layer(I, H, batch_first=True, dtype=torch.float64)
            self.cell = FusedGRUCell(H, H, dtype=torch.float64)

        def forward(self, x):
            output, *states = self.rnn(x)
            h = flat(states)[0][-1]
            return self.cell(output[:, -1] * self.scale, self.cell(h))

    model, x = Own(), torch.randn(B, T, I, dtype=torch.float64)
    assert_right(model, x)


def test_replaced_layers(layer):
    model = Model(nn.LSTM if layer is FusedLSTM else nn.GRU)
    assert ModuleValidator.validate(model, strict=False)
    replace_rnns(model)
    assert ModuleValidator.validate(model, strict=True) == []
    x = torch.randn(B, T, I, dtype=torch.float64)
    assert_right(model, x)


@pytest.mark.parametrize("mode", ["hooks", "functorch", "ghost"])
def test_training_with_poisson_sampling(layer, mode):
    model = Last(layer).float()
    before = copy.deepcopy(model.state_dict())
    data = DataLoader(TensorDataset(torch.randn(6, T, I), torch.randint(0, 2, (6,))), batch_size=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    made = PrivacyEngine().make_private(
        module=model,
        optimizer=optimizer,
        criterion=criterion,
        data_loader=data,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        grad_sample_mode=mode,
    )
    model, optimizer, *own, data = made
    criterion = own[0] if own else criterion
    sizes = []
    for _ in range(3):
        for x, y in data:
            sizes.append(len(x))
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
    assert 0 in sizes
    after = model._module.state_dict()
    assert all(torch.isfinite(after[name]).all() and not torch.equal(after[name], before[name]) for name in before)


def test_opacus_is_not_imported():
    code = "import sys, fusedrnn; sys.exit('opacus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
