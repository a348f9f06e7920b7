"""Who runs a call of "auto" on a GPU: measured once by kind of call, remembered, and never measured where that would disturb."""

import logging

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

import fusedrnn
from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.auto import choose, known
from fusedrnn.auto.kind import exact, kind_of
from fusedrnn.backends import dispatch
from fusedrnn.call import Call
from fusedrnn.precision import allow_rnn_tf32


def decisions():
    """By kind, what this process knows."""
    return {str(kind): decision for (_, kind), decision in known.by_kind.items()}


def ran(speeds, run):
    """How many calls of each `run` makes."""
    before = speeds.ran.copy()
    result = run()
    return dict(speeds.ran - before), result


def test_the_first_call_measures_and_the_next_ones_remember(interpreted, net, caplog):
    (module, x), speeds = net, interpreted
    with caplog.at_level(logging.INFO, logger="fusedrnn"):
        counted, first = ran(speeds, lambda: module(x))
    assert counted["kernels"] > 2
    assert counted["torch"] > 1
    ((kind, decision),) = decisions().items()
    assert kind.startswith("gru float32 I=4 H=5 L=1 D=1 B=2 T=2 training")
    assert decision.backend == "triton"
    assert (decision.ours_ms, decision.torch_ms) == (1000, 2000)
    assert decision.error < 1
    (line,) = caplog.messages
    assert line.startswith(f"auto: triton for {kind}: the kernels are 2.00 times as fast as torch's own (measured in ")
    counted, second = ran(speeds, lambda: module(x))
    assert counted == {"kernels": 1}
    expected, _ = FusedGRU.forward(module, x)
    assert torch.equal(first[0], expected)
    assert torch.equal(second[0], expected)


@pytest.mark.parametrize(("seconds", "backend"), [(1.0, "triton"), (1.89, "triton"), (1.91, "aten"), (5.0, "aten")])
def test_the_kernels_must_be_a_twentieth_faster(speeds, net, seconds, backend):
    module, x = net
    speeds.kernels = seconds
    module(x)
    (decision,) = decisions().values()
    assert decision.backend == backend
    assert decision.reason.startswith(f"the kernels are {2 / seconds:.2f} times as fast as torch's own")
    counted, _ = ran(speeds, lambda: module(x))
    assert counted == {"kernels" if backend == "triton" else "torch": 1}


def test_a_decision_holds_for_sizes_up_to_the_same_powers_of_two(speeds, net):
    module, _ = net
    module(torch.randn(3, 3, 3))
    for T, B in ((4, 4), (3, 4), (4, 3)):
        counted, _ = ran(speeds, lambda T=T, B=B: module(torch.randn(T, B, 3)))
        assert counted == {"kernels": 1}
    assert len(decisions()) == 1
    module(torch.randn(2, 4, 3))
    assert len(decisions()) == 2


OTHERS = {
    "inference": lambda module, x: module.eval().requires_grad_(False)(x),
    "lengths": lambda module, x: module(x, lengths=torch.tensor([2, 1])),
    "packed": lambda module, x: module(torch.nn.utils.rnn.pack_padded_sequence(x, [2, 1])),
    "ids": lambda module, x: module(torch.tensor([[0, 1], [2, 0]])),
    "all states": lambda module, x: module(x, return_all_states=True),
    "dtype": lambda module, x: module.double()(x.double()),
    "no bias": lambda module, x: FusedGRU(3, 5, bias=False)(x),
    "recompute": lambda module, x: FusedGRU(3, 5, memory="recompute")(x),
    "layers": lambda module, x: FusedGRU(3, 5, 2)(x),
    "dropout": lambda module, x: FusedGRU(3, 5, 2, dropout=0.5)(x),
    "directions": lambda module, x: FusedGRU(3, 5, bidirectional=True)(x),
    "cell": lambda module, x: FusedGRU(3, 5, reset_after=False)(x),
    "projection": lambda module, x: FusedLSTM(3, 5, proj_size=2)(x),
}


@pytest.mark.parametrize("other", OTHERS)
def test_calls_of_another_kind_are_measured_too(speeds, net, other):
    module, x = net
    module(x)
    OTHERS[other](module, x)
    kinds = list(decisions())
    assert len(kinds) == 2
    counted, _ = ran(speeds, lambda: OTHERS[other](module, x))
    assert counted == {"kernels": 1}
    assert list(decisions()) == kinds


def test_autocast_and_the_setting_of_tf32_make_another_kind(speeds, net):
    module, x = net
    module(x)
    with torch.autocast("cpu", torch.bfloat16):
        module(x)
    with allow_rnn_tf32(False):
        module(x)
    ends = [kind.split("training")[1] for kind in decisions()]
    assert ends == [" tf32", "", ""]
    assert [kind.split()[1] for kind in decisions()] == ["float32", "bfloat16", "float32"]


def test_training_counts_the_backward_and_holds_where_gradients_come_later(speeds, net):
    """A checkpoint runs without gradients first: forward and recomputation must be by the same backend."""
    module, x = net
    with torch.no_grad():
        module(x)
    module.eval()(x)  # no dropout, but gradients
    assert ["training" in kind for kind in decisions()] == [True]


def traced(module, x):
    torch.compile(module, backend="eager", fullgraph=True)(x)


def fake(module, x):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        module(mode.from_tensor(x))


def dual(module, x):
    with forward_ad.dual_level():
        module(forward_ad.make_dual(x, x))


def anomaly(module, x):
    with torch.autograd.detect_anomaly(check_nan=False):
        module(x)


def in_a_backward(module, x):
    class Late(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            module(x)
            return gradient

    Late.apply(x.clone().requires_grad_()).sum().backward()


NEVER = {
    "torch.compile": traced,
    "torch.export": lambda module, x: torch.export.export(module, (x,)),
    "torch.jit.trace": lambda module, x: torch.jit.trace(module, x, check_trace=False),
    "meta tensors": lambda module, x: module.to("meta")(x.to("meta")),
    "fake tensors": fake,
    "grad": lambda module, x: grad(lambda x: module(x)[0].sum())(x),
    "vmap": lambda module, x: vmap(lambda x: module(x)[0])(torch.stack([x, x])),
    "forward mode": dual,
    "functional_call in grad": lambda module, x: grad(lambda w: functional_call(module, w, (x,))[0].sum())(
        dict(module.named_parameters())
    ),
    "inside a backward": in_a_backward,
    "anomaly mode": anomaly,
    "an empty batch": lambda module, x: module(x[:, :0]),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:Anomaly Detection")
@pytest.mark.parametrize("where", NEVER)
def test_nothing_is_measured_where_that_would_disturb(speeds, net, where):
    module, x = net
    NEVER[where](module, x)
    assert speeds.ran["kernels"] == 0
    assert decisions() == {}
    FusedGRU(3, 5)(x)
    assert len(decisions()) == 1  # the next plain call decides


def test_nothing_is_measured_in_a_graph_capture_but_a_decision_holds_there(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(choose, "readable", lambda tensor: False)  # as while a CUDA graph is captured
    counted, _ = ran(speeds, lambda: module(x))
    assert counted == {"torch": 1}
    assert decisions() == {}
    monkeypatch.setattr(choose, "readable", lambda tensor: True)
    module(x)
    monkeypatch.setattr(choose, "readable", lambda tensor: False)
    counted, _ = ran(speeds, lambda: module(x))
    assert counted == {"kernels": 1}


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_measures_in_the_forward_and_recomputes_with_the_same_backend(speeds, net, reentrant):
    module, x = net
    given = x.clone().requires_grad_()
    output = checkpoint(lambda x: module(x)[0], given, use_reentrant=reentrant)
    (decision,) = decisions().values()
    assert decision.backend == "triton"
    counted, _ = ran(speeds, lambda: output.sum().backward())
    assert counted == {"kernels": 1}
    expected = torch.autograd.grad(module(x.requires_grad_())[0].sum(), x)
    assert torch.equal(given.grad, *expected)


def test_a_tensor_of_a_subclass_is_left_to_torch(speeds, net):
    class Sub(torch.Tensor):
        pass

    module, x = net
    module(x.as_subclass(Sub))
    assert decisions() == {}
    module(x)
    counted, _ = ran(speeds, lambda: module(x.as_subclass(Sub)))
    assert "kernels" not in counted


def test_what_a_user_asks_for_by_name_is_not_decided(speeds, net):
    module, x = net
    for backend in ("aten", "reference"):
        with fusedrnn.use_backend(backend):
            module(x)
    assert decisions() == {}
    assert speeds.ran["kernels"] == 0


def test_a_call_on_a_cpu_is_torchs_own(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(choose, "on_gpu", lambda call, is_it=speeds.on_gpu: is_it(call))
    module(x)
    assert decisions() == {}
    assert speeds.ran["kernels"] == 0


def calls_of(monkeypatch, run):
    """The calls that `run` dispatches."""
    found: list[Call] = []
    original = dispatch.decide

    def noted(call, backend):
        found.append(call)
        return original(call, backend)

    monkeypatch.setattr(dispatch, "decide", noted)
    run()
    return found


def test_a_call_that_is_known_is_not_looked_at_again(speeds, net, monkeypatch):
    module, x = net
    module(x)
    monkeypatch.setattr(choose, "kind_of", None)
    counted, _ = ran(speeds, lambda: module(x))
    assert counted == {"kernels": 1}


def test_the_memory_of_calls_is_bounded(speeds, net, monkeypatch):
    module, _ = net
    monkeypatch.setattr(known, "MOST_EXACT", 2)
    for T in (5, 6, 7, 8):
        module(torch.randn(T, 2, 3))
        assert len(known.by_exact) <= 2
    assert len(decisions()) == 1


def test_the_key_of_a_call_has_everything_that_its_kind_has(speeds, monkeypatch, net):
    """Two calls of different kinds never share the key under which a process remembers."""
    module, x = net
    fusedrnn.set_auto("off")
    calls = calls_of(monkeypatch, lambda: [module(x), *(OTHERS[other](FusedGRU(3, 5), x) for other in OTHERS)])
    kinds = {kind_of(call) for call in calls}
    assert len(kinds) == len({exact(call) for call in calls}) == len(OTHERS) + 1
