"""What torch.nn's modules cannot do and ours can. Each case has a control: on torch 2.13 torch.nn fails at it, with this error.

On a CPU torch.nn does differentiate twice; it is cuDNN that cannot, nor backward in evaluation mode: those two need a GPU.
"""

import contextlib

import pytest
import torch
from contract_cases import LAYERS
from torch import nn
from torch.export import Dim, export
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU

GRU, LSTM, BOTH = ("gru",), ("lstm",), ("gru", "lstm")
X = torch.randn(5, 2, 3)
VERSION = ".".join(torch.__version__.split(".")[:2])

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # from torch's forward mode


def weights(module):
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def on(module, values, x):
    """The output with other weights."""
    return torch.func.functional_call(module, values, (x,))[0]


def whole_graph(kind):
    torch.compiler.reset()
    module = kind(3, 4, 2, bidirectional=True)
    yield torch.compile(module, fullgraph=True, backend="eager")(X)[0], module(X)[0]


def one_graph_for_every_length(kind):
    torch.compiler.reset()
    module, graphs = kind(3, 4), []
    compiled = torch.compile(
        module, fullgraph=True, dynamic=True, backend=lambda graph, _: graphs.append(graph) or graph
    )
    for steps in (5, 7, 9):
        x = torch.randn(steps, 2, 3)
        yield compiled(x)[0], module(x)[0]
    assert len(graphs) == 1


def whole_graph_of_packed_rows(kind):
    torch.compiler.reset()
    module = kind(3, 4, 2, bidirectional=True)
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 4, 1)], enforce_sorted=False)
    yield torch.compile(module, fullgraph=True, backend="eager")(packed)[0].data, module(packed)[0].data


def export_with_open_length(kind):
    module = kind(3, 4).eval()
    program = export(module, (X,), dynamic_shapes={"input": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}}).module()
    for shape in ((9, 4, 3), (3, 5, 3)):
        x = torch.randn(*shape)
        yield program(x)[0], module(x)[0]


def vmap_over_inputs(kind):
    module, many = kind(3, 4), torch.randn(3, 5, 2, 3)
    yield torch.vmap(lambda x: module(x)[0])(many), torch.stack([module(x)[0] for x in many])


def vmap_over_weights(kind):
    members = [kind(3, 4) for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(members)
    yield torch.vmap(lambda w: on(members[0], w, X))(stacked), torch.stack([m(X)[0] for m in members])


def gradients_of_each_sample(kind):
    module = kind(3, 4)
    each = torch.vmap(torch.func.grad(lambda w, x: on(module, w, x).sin().sum()), (None, 1))(weights(module), X)
    for b in range(2):
        grads = torch.autograd.grad(module(X[:, b])[0].sin().sum(), list(module.parameters()))
        for (name, _), grad in zip(module.named_parameters(), grads, strict=True):
            yield each[name][b], grad


def jvp(kind):
    module, direction = kind(3, 4), torch.randn_like(X)
    _, along = torch.func.jvp(lambda x: module(x)[0].sin().sum(), (X,), (direction,))
    x = X.clone().requires_grad_()
    yield along, (torch.autograd.grad(module(x)[0].sin().sum(), x)[0] * direction).sum()


def forward_mode(kind):
    module, direction = kind(3, 4), torch.randn_like(X)
    with torch.autograd.forward_ad.dual_level():
        output, _ = module(torch.autograd.forward_ad.make_dual(X, direction))
        tangent = torch.autograd.forward_ad.unpack_dual(output).tangent
    jacobian = torch.autograd.functional.jacobian(lambda x: module(x)[0], X)
    yield tangent, (jacobian * direction).sum((-3, -2, -1))


def hessian(kind):
    module, x = kind(2, 2), torch.randn(3, 1, 2)
    both = torch.func.hessian(lambda x: module(x)[0].sin().sum())(x)
    yield both, torch.autograd.functional.hessian(lambda x: module(x)[0].sin().sum(), x)


def token_ids(kind):
    module, ids = kind(3, 4), torch.tensor([[0, 2], [1, 1]])
    yield module(ids)[0], module(nn.functional.one_hot(ids, 3).float())[0]


def lengths(kind):
    module = kind(3, 4)
    output, _ = module(X, lengths=torch.tensor([2, 5]))
    yield output[:2, 0], module(X[:2, 0])[0]


def every_state(kind):
    module = kind(3, 4)
    output, _, every = module(X, return_all_states=True)
    yield every[0] if kind is FusedGRU else every[0][0], output


def reset_before(kind):
    module = kind(3, 4, reset_after=False)
    with torch.no_grad():
        module.weight_hh_l0.zero_()  # then both forms are one but for the bias of n
        module.bias_hh_l0.zero_()
    plain = nn.GRU(3, 4)
    plain.load_state_dict(module.state_dict())
    yield module(X)[0], plain(X)[0]


CASES = {  # the modules of torch.nn that fail, and their error
    whole_graph: (BOTH, "Attempted to wrap RNN, GRU, or LSTM"),
    whole_graph_of_packed_rows: (BOTH, "Attempted to wrap RNN, GRU, or LSTM"),
    one_graph_for_every_length: (BOTH, "Attempted to wrap RNN, GRU, or LSTM"),
    export_with_open_length: (BOTH, "Constraints violated|were assigned during export"),
    vmap_over_inputs: (BOTH, "Batching rule not implemented"),
    vmap_over_weights: (BOTH, "Batching rule not implemented"),
    gradients_of_each_sample: (GRU, "doesn't match the broadcast shape"),
    jvp: (LSTM, "forward AD with mkldnn_rnn_layer"),
    forward_mode: (LSTM, "forward AD with mkldnn_rnn_layer"),
    hessian: (LSTM, "forward AD with mkldnn_rnn_layer"),
    token_ids: (BOTH, "does not match weight dtype"),
    lengths: (BOTH, "unexpected keyword argument 'lengths'"),
    every_state: (BOTH, "unexpected keyword argument 'return_all_states'"),
    reset_before: (GRU, "unexpected keyword argument 'reset_after'"),
}
ALL = [(case, cell) for case in CASES for cell in (GRU if case is reset_before else BOTH)]
FAILING = [(case, cell) for case, (cells, _) in CASES.items() for cell in cells]


@pytest.mark.parametrize(("case", "cell"), ALL, ids=lambda p: getattr(p, "__name__", p))
def test_ours_can(case, cell):
    checked = 0
    for got, expected in case(LAYERS[cell][1]):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=2e-6)
        checked += 1
    assert checked


@pytest.mark.skipif(VERSION != "2.13", reason=f"what torch.nn cannot do was seen in torch 2.13; this is {VERSION}")
@pytest.mark.parametrize(("case", "cell"), FAILING, ids=lambda p: getattr(p, "__name__", p))
def test_control_torch_nn_cannot(case, cell):
    with pytest.raises(Exception, match=CASES[case][1]):  # noqa: PT012
        for got, expected in case(LAYERS[cell][0]):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=2e-6)


def penalty(module, x):
    grads = torch.autograd.grad(module(x)[0].sin().sum(), list(module.parameters()), create_graph=True)
    sum(grad.square().sum() for grad in grads).backward()


CUDNN = {
    "second derivative": (
        lambda m: penalty(m, X.cuda()),
        "double backward|second derivative|not supported|not implemented",
    ),
    "backward in evaluation mode": (lambda m: m.eval()(X.cuda())[0].sum().backward(), "training mode"),
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN needs a CUDA device")
@pytest.mark.parametrize("ours", [False, True], ids=["torch.nn cannot", "ours can"])
@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("case", CUDNN.values(), ids=CUDNN)
def test_what_cudnn_cannot(case, cell, ours):
    run, message = case
    module = LAYERS[cell][ours](3, 4).cuda()
    with contextlib.nullcontext() if ours else pytest.raises(RuntimeError, match=message):
        run(module)
    if ours:
        assert all(p.grad.isfinite().all() for p in module.parameters())
