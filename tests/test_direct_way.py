"""The short way on a CPU: taken where nothing else is asked for, and nowhere else; the same results as the general way."""

import pytest
import torch
from contract_cases import LAYERS, hx_of, tensors, total

from fusedrnn import FusedGRU, FusedLSTM, direct, use_backend
from fusedrnn.backend_aten import derived_by_hand


@pytest.fixture(params=[FusedGRU, FusedLSTM], ids=LAYERS)
def kind(request):
    return request.param


@pytest.fixture
def ways(monkeypatch):
    """Whether each call took the short way."""
    taken = []

    def run(*args, original=direct.run):
        result = original(*args)
        taken.append(result is not None)
        return result

    monkeypatch.setattr(direct, "run", run)
    return taken


PLAIN = {
    "plain": {},
    "layers": {"num_layers": 2, "bidirectional": True, "bias": False},
    "batch first": {"batch_first": True, "num_layers": 2},
}


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
def test_both_ways_give_the_same(kind, ways, monkeypatch, options, given):
    module, x = kind(3, 4, **options), torch.randn(5, 2, 3, requires_grad=True)
    batch = 5 if options.get("batch_first") else 2
    hx = hx_of(module, module.num_layers * (1 + module.bidirectional), batch, 4, requires_grad=True) if given else None
    found = []
    for _ in range(2):
        result = module(x, hx)
        found.append([*tensors(result), *torch.autograd.grad(total(result), [x, *module.parameters()])])
        monkeypatch.setattr(direct, "run", lambda *args: None)
    assert ways == [True]
    for short, general in zip(*found, strict=True):
        torch.testing.assert_close(short, general)
        assert short.shape == general.shape


def test_what_is_not_plain_takes_the_general_way(kind, ways):
    x = torch.randn(5, 2, 3)
    kind(3, 4, 2, dropout=0.5)(x)
    kind(3, 4, weight_dropout=0.5)(x)
    kind(3, 4, backend="reference")(x)
    with use_backend("reference"):
        kind(3, 4)(x)
    kind(3, 4)(x[:, 0])
    kind(3, 4)(torch.zeros(5, 2, dtype=torch.int64))
    kind(3, 4, device="meta")(x.to("meta"))
    torch.vmap(kind(3, 4))(x.unsqueeze(0))
    assert not any(ways)
    kind(3, 4, 2, dropout=0.5).eval()(x)
    assert ways.pop()


def test_reset_before_has_no_short_way(ways):
    FusedGRU(3, 4, reset_after=False)(torch.randn(5, 2, 3))
    assert ways == [False]


def test_a_gru_of_many_small_steps_trains_by_the_sweeps_and_runs_by_torchs():
    gru = FusedGRU(3, 4)
    for steps, batch, by_hand in ((32, 2, True), (31, 2, False), (32, 257, False)):
        x = torch.randn(steps, batch, 3)
        output, _ = gru(x)
        assert ("sweep" in output.grad_fn.next_functions[0][0].name() + output.grad_fn.name()) == by_hand
        with torch.no_grad():
            assert not derived_by_hand("gru", x, list(gru.parameters()), steps, batch, 4)
    assert not derived_by_hand("lstm", x, list(gru.parameters()), 64, 1, 4)
