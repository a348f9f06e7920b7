"""`resets=` is the `is_init` of torchrl's GRUModule and LSTMModule: on whole sequences and step by step, with every gradient.

torchrl is no dependency of the tests, which are skipped without it: with what it asks for it is eight packages and more than
30 MB, and it brings a folder `benchmarks` of its own. To run them, with FOLDER in PYTHONPATH:
`pip install --no-deps --target FOLDER torchrl==0.14.1 tensordict==0.14.3 pyvers==0.2.3 hoptorch==0.1.4`.

Where `is_init` is true, torchrl starts a whole sequence from the states that its input holds for that step, or from zeros if it
holds none; a call of one step starts from zeros, whatever states it is given.
"""

import multiprocessing

import pytest
import torch
from contract_cases import flat, total
from torch.distributions import Distribution

from fusedrnn import FusedGRU, FusedLSTM

T, B, I, H = 9, 4, 3, 5
KINDS = {"gru": (FusedGRU, "GRUModule", "h"), "lstm": (FusedLSTM, "LSTMModule", "hc")}
"""Our class, theirs, and the names of its states."""


@pytest.fixture(scope="module", autouse=True)
def torchrl():
    """Its modules; what importing it sets for the whole process is put back."""
    start, validate = multiprocessing.get_start_method(allow_none=True), Distribution._validate_args
    multiprocessing.set_start_method(None, force=True)  # it sets its own, and warns if there is one
    try:
        return pytest.importorskip("torchrl.modules", reason="torchrl is not installed here")
    finally:
        multiprocessing.set_start_method(start, force=True)
        Distribution.set_default_validate_args(validate)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=["reference", "aten", None], ids=str)
def backend(request):
    return request.param


@pytest.fixture(params=[1, 2], ids=["one layer", "two layers"])
def pair(request, kind, backend, torchrl):
    """Makes ours and theirs with the same weights; theirs has torch.nn's module in it, or one written in Python."""

    def build(python_based):
        cls, name, names = KINDS[kind]
        ours = cls(I, H, request.param, batch_first=True, backend=backend, dtype=torch.float64)
        keys = {"in_keys": ["x", *names], "out_keys": ["y", *(("next", k) for k in names)]}
        theirs = getattr(torchrl, name)(I, H, request.param, python_based=python_based, **keys).double()
        getattr(theirs, kind).load_state_dict(ours.state_dict())
        return ours, theirs

    return build


@pytest.fixture
def resets():
    """Random, among them the first step, the last and two in a row."""
    found = torch.rand(B, T) < 0.3
    found[0, :2], found[1, 0], found[2, -1] = True, False, True
    return found


def call(theirs, x, states, resets):
    """The output of torchrl's module and the states that it writes, (layers, B, H) after the last step."""
    from tensordict import TensorDict

    steps = x.shape[:2]
    held = {k: s.transpose(0, 1).unsqueeze(1).expand(*steps, -1, -1) for k, s in zip("hc", states, strict=False)}
    found = theirs(TensorDict({"x": x, "is_init": resets.unsqueeze(-1), **held}, steps))
    return [found["y"], *(found[key][:, -1].transpose(0, 1) for key in theirs.out_keys[1:])]


def same(ours, theirs, found, expected, inputs):
    """Assert that results and gradients agree; `theirs` is the module inside torchrl's."""
    weights = dict(theirs.named_parameters())
    got = [*found, *torch.autograd.grad(total(found), [*inputs, *ours.parameters()])]
    leaves = [*inputs, *(weights[name] for name, _ in ours.named_parameters())]
    want = [*expected, *torch.autograd.grad(total(expected), leaves)]
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("python_based", [False, True], ids=["torch.nn", "python"])
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "states"])
def test_a_whole_sequence(kind, pair, resets, python_based, given, torchrl):
    ours, theirs = pair(python_based)
    x = torch.randn(B, T, I, dtype=torch.float64, requires_grad=True)
    shape = (ours.num_layers, B, H)
    states = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in KINDS[kind][2]]
    states = states if given else []
    output, finals = ours(x, (tuple(states) if kind == "lstm" else states[0]) if given else None, resets=resets)
    with torchrl.set_recurrent_mode(True):
        expected = call(theirs, x, states, resets)
    same(ours, getattr(theirs, kind), [output, *flat(finals)], expected, [x, *states])


def test_step_by_step(kind, pair, resets):
    ours, theirs = pair(python_based=True)
    resets[:, 0] = True  # the states of the first call are forgotten
    x = torch.randn(B, T, I, dtype=torch.float64, requires_grad=True)
    states = [torch.randn(ours.num_layers, B, H, dtype=torch.float64) for _ in KINDS[kind][2]]
    outputs = []
    for t in range(T):
        output, *states = call(theirs, x[:, t : t + 1], states, resets[:, t : t + 1])
        outputs.append(output)
    output, finals = ours(x, resets=resets)
    same(ours, getattr(theirs, kind), [output, *flat(finals)], [torch.cat(outputs, 1), *states], [x])
