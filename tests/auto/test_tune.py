"""`fusedrnn.tune`: which calls of a model are measured, and that the model and torch stay as they were."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import fusedrnn
from fusedrnn import FusedGRU, FusedLSTM, use_backend
from fusedrnn.auto import choose, known, settle, tune
from fusedrnn.auto.decision import Decision


class Asked(list):
    """Devices, kinds and `again` of what is measured in place of a measurement."""

    def tuned(self, kind, device, *, again):
        self.append((device, kind, again))
        return Decision("aten", f"{len(self)}")

    def values(self, field):
        return [getattr(kind, field) for _, kind, _ in self]


@pytest.fixture
def asked(speeds, monkeypatch):
    found = Asked()
    monkeypatch.setattr(settle, "tuned", found.tuned)
    return found


class Model(nn.Module):
    """A recurrent module inside a module, called twice; buffers that change in place and are replaced; random numbers."""

    def __init__(self, rnn):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.BatchNorm1d(3))
        self.rnn = nn.ModuleDict({"rnn": rnn})
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))
        self.register_buffer("none", None)
        self.modes = []

    def forward(self, x, fail=False):
        self.modes.append((self.training, torch.is_grad_enabled()))
        self.calls += 1
        self.last = self.inner(x).mean() + torch.rand(())
        if fail:
            raise KeyError("fail")
        self.rnn["rnn"](x[None])
        return self.rnn["rnn"](x[None].contiguous())


def test_both_modes_are_measured_and_used(speeds, net):
    module, x = net
    found = fusedrnn.tune(*net)
    names = [f"gru float32 I=4 H=5 L=1 D=1 B=2 T=2 {mode} tf32" for mode in ("training", "inference")]
    assert list(found) == names
    assert [decision.backend for decision in found.values()] == ["triton"] * 2
    counted = dict(speeds.ran)
    module(x)
    with torch.no_grad():
        module.eval()(x)
    assert speeds.ran["torch"] == counted["torch"]
    assert speeds.ran["kernels"] == counted["kernels"] + 2


def test_what_is_kept_is_measured_again_only_on_demand(speeds, net):
    first = fusedrnn.tune(*net)
    counted = speeds.ran["kernels"]
    assert fusedrnn.tune(*net) == first
    known.forget()
    assert fusedrnn.tune(*net) == first
    assert speeds.ran["kernels"] == counted
    speeds.torch = 0.5
    assert {decision.backend for decision in fusedrnn.tune(*net, again=True).values()} == {"aten"}
    assert speeds.ran["kernels"] > counted


def test_a_measurement_leaves_the_model_and_the_generators(speeds):
    module, x = FusedGRU(3, 5, 2, dropout=0.5), torch.randn(1, 1, 3)
    state, weights = torch.get_rng_state(), [weight.clone() for weight in module.parameters()]
    fusedrnn.tune(module, x.requires_grad_())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(*pair) for pair in zip(weights, module.parameters(), strict=True))
    assert all(weight.grad is None for weight in (x, *module.parameters()))


@pytest.mark.parametrize("fail", [False, True])
def test_the_model_and_the_generators_stay_as_they_were(asked, fail):
    model = Model(FusedGRU(3, 5)).train()
    model.inner[2].eval()
    modes = [part.training for part in model.modules()]
    buffers = dict(model.named_buffers())
    values = {name: buffer.clone() for name, buffer in buffers.items()}
    state = torch.get_rng_state()
    if fail:
        with pytest.raises(KeyError, match="fail"):
            fusedrnn.tune(model, torch.ones(2, 3), fail=True)
    else:
        fusedrnn.tune(model, torch.ones(2, 3))
    assert model.modes == [(False, False)]
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    after = dict(model.named_buffers())
    assert after.keys() == buffers.keys()
    for name, buffer in buffers.items():
        assert after[name] is buffer
        assert torch.equal(buffer, values[name])
    assert model.none is None
    assert all(weight.grad is None for weight in model.parameters())
    assert choose._noticed is None


def test_a_shared_buffer_is_shared_during_the_call(asked):
    class Shared(Model):
        def forward(self, x):
            assert self.calls is self.last
            assert self.calls is not given
            return self.rnn["rnn"](x)

    model = Shared(FusedGRU(3, 5))
    given = model.last = model.calls
    fusedrnn.tune(model, torch.ones(1, 2, 3))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_scripted_and_lazy_modules(asked):
    """A scripted module's buffers cannot be replaced; a lazy module's have no values yet, and the call makes them."""
    scripted = torch.jit.script(nn.BatchNorm1d(3))
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), scripted, FusedGRU(3, 5))
    fusedrnn.tune(model, torch.randn(2, 4))
    assert len(asked) == 2
    assert model[1].running_mean.shape == scripted.running_mean.shape == (3,)
    assert model[1].training
    assert scripted.training


def test_a_kind_is_asked_once(asked):
    fusedrnn.tune(Model(FusedGRU(3, 5)), torch.ones(2, 3))
    assert asked.values("training") == [True, False]
    assert asked == [(torch.device("cpu"), kind, False) for _, kind, _ in asked]


def test_again_is_passed_on(asked, net):
    fusedrnn.tune(*net, again=True)
    assert [again for *_, again in asked] == [True, True]


def test_calls_of_all_layouts(asked):
    module, x = FusedLSTM(3, 5, 2, dropout=0.5, bidirectional=True, proj_size=2), torch.randn(3, 2, 3)
    states = torch.zeros(4, 2, 2), torch.zeros(4, 2, 5)
    fusedrnn.tune(module, x, states)
    fusedrnn.tune(module, x, lengths=torch.tensor([3, 1]))
    fusedrnn.tune(module, pack_sequence([x[:, 0], x[:1, 1]]), hx=states)
    fusedrnn.tune(module, torch.tensor([[1, 2], [0, 1]]), return_all_states=True)
    assert asked.values("layout") == ["padded"] * 2 + ["lengths"] * 2 + ["packed"] * 2 + ["padded"] * 2
    assert asked.values("training") == [True, False] * 4
    assert asked.values("dropout") == ["each", ""] * 4
    assert asked.values("batch") == [2] * 8
    assert asked.values("steps") == [4] * 6 + [2] * 2
    assert asked.values("ids") == asked.values("all_states") == [False] * 6 + [True] * 2


def test_several_devices(asked):
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = FusedGRU(3, 5), FusedGRU(3, 5, device="meta")

        def forward(self, x):
            return self.first(x), self.second(x.to("meta"))

    found = fusedrnn.tune(Halves(), torch.randn(2, 2, 3))
    kind = "gru float32 I=4 H=5 L=1 D=1 B=2 T=2"
    assert {name: decision.reason for name, decision in found.items()} == {
        f"{kind} training tf32 on cpu": "1",
        f"{kind} inference tf32 on cpu": "2",
        f"{kind} training tf32 on meta": "3",
        f"{kind} inference tf32 on meta": "4",
    }


def test_calls_are_not_held_while_it_measures(speeds, monkeypatch):
    alive = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FusedGRU(3, 5)

        def forward(self, x):
            made = x * 2
            alive.append(weakref.ref(made))
            return self.rnn(made)

    def tuned(kind, device, *, again):
        assert alive[0]() is None
        return Decision("aten", "")

    monkeypatch.setattr(settle, "tuned", tuned)
    assert len(fusedrnn.tune(Watched(), torch.randn(2, 2, 3))) == 2


EXPECTED = 'tune: expected a model that calls FusedGRU, FusedLSTM or FusedRNN on a GPU, uncompiled and with backend "auto"; got '


def refusal(module, *example):
    with pytest.raises(ValueError, match=r"^tune: ") as caught:
        fusedrnn.tune(module, *example)
    assert str(caught.value).startswith(EXPECTED)
    return str(caught.value).removeprefix(EXPECTED)


def test_nothing_to_decide(asked):
    x = torch.randn(2, 2, 3)
    assert (
        refusal(nn.GRU(3, 5), x) == "one without either; `fusedrnn.replace_rnns` puts them in the place of torch.nn's"
    )
    assert refusal(FusedGRU(3, 5, backend="triton"), x) == "FusedGRU on cpu with backend 'triton'"
    pair = nn.ModuleList([FusedLSTM(3, 5), FusedLSTM(3, 5), FusedGRU(3, 5, backend="reference")])
    pair.forward = lambda x: None
    with use_backend("aten"):
        assert refusal(pair, x) == "FusedLSTM on cpu with backend 'aten', FusedGRU on cpu with backend 'reference'"
        assert refusal(FusedGRU(3, 5), x) == "FusedGRU on cpu with backend 'aten'"
    assert not asked


def test_empty_calls_have_no_kind(asked):
    assert refusal(FusedGRU(3, 5), torch.randn(2, 0, 3)) == "FusedGRU on cpu with backend 'auto'"


def test_on_a_cpu_there_is_nothing_to_decide(fresh, net):
    assert refusal(*net) == "FusedGRU on cpu with backend 'auto'"


def test_what_is_no_module():
    with pytest.raises(TypeError, match=r"^module: expected a torch.nn.Module, got function$"):
        fusedrnn.tune(lambda x: x, torch.randn(2, 2, 3))


def test_nothing_more_is_measured_again_on_a_card_where_something_was_wrong(asked, net, monkeypatch):
    fusedrnn.tune(*net)
    places = [(device, kind._replace(hidden_size=size)) for size in (1, 2, 3) for device, kind, _ in asked[:1]]
    asked.clear()
    monkeypatch.setattr(settle, "wrong_on", lambda device: "bad" if len(asked) > 1 else None)
    tune.decided(places, again=True)
    assert [again for *_, again in asked] == [True, True, False]


def test_autocast_inside_the_model_counts(speeds):
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FusedGRU(3, 5)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.rnn(x)[0]

    assert {kind.split()[1] for kind in fusedrnn.tune(Half(), torch.randn(2, 2, 3))} == {"bfloat16"}
