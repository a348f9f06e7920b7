"""torch.compile, torch.export, torch.fx and fake tensors: one graph, equal results, open sizes, on every CPU path."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.export import Dim, export
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import (
    FusedDropout,
    FusedGRU,
    FusedGRUCell,
    FusedLSTM,
    FusedLSTMCell,
    FusedRNN,
    FusedRNNCell,
    InitialState,
    functional,
    use_backend,
)

CELLS = {"gru": FusedGRU, "lstm": FusedLSTM, "rnn": FusedRNN}


@pytest.fixture(
    params=[
        pytest.param(kind, marks=pytest.mark.slow if name == "rnn" else [], id=name) for name, kind in CELLS.items()
    ]
)
def cell(request):
    torch.compiler.reset()
    return request.param


def given(form, steps=5, batch=2):
    if form == "ids":
        return (torch.randint(0, 3, (steps, batch)),), {}
    x = torch.randn(steps, batch, 3)
    return (x,), {"lengths": torch.randint(1, steps + 1, (batch,))} if form == "lengths" else {}


@pytest.mark.parametrize("form", ["floats", "ids", "lengths"])
@pytest.mark.parametrize("backend", ["aten", "reference", "triton"])
def test_a_module_compiles_whole_with_its_gradients(cell, backend, form):
    module = cell(3, 4, 2, bidirectional=True, backend=backend)
    args, options = given(form)
    results = []
    for run in (module, torch.compile(module, fullgraph=True, backend="aot_eager")):
        module.zero_grad()
        output, states = run(*args, **options)
        output.sin().sum().backward()
        results.append([output, states[0], *(p.grad.clone() for p in module.parameters())])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("hx", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("ids", [False, True], ids=["floats", "ids"])
@pytest.mark.parametrize("backend", ["aten", "reference", "triton"])
def test_packed_rows_compile_whole_with_their_gradients(cell, backend, ids, hx):
    module = cell(3, 4, 2, bidirectional=True, dropout=0.4, backend=backend)
    rows = [torch.randint(0, 3, (n,)) if ids else torch.randn(n, 3) for n in (2, 4, 1)]
    packed = pack_sequence(rows, enforce_sorted=False)
    h = torch.randn(4, 3, 4) if hx else None
    states = (h, h) if hx and cell is FusedLSTM else h
    results = []
    for run in (module, torch.compile(module, fullgraph=True, backend="aot_eager")):
        module.zero_grad()
        torch.manual_seed(0)
        output, finals = run(packed, states)
        assert output.unsorted_indices is packed.unsorted_indices
        (output.data.sin().sum() + sum(final.sum() for final in finals)).backward()
        results.append([output.data, *finals, *(p.grad.clone() for p in module.parameters())])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("rows", [4, 2], ids=["too many", "too few"])
def test_a_wrong_hx_is_refused_while_packed_rows_are_traced(cell, rows):
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 4, 1)], enforce_sorted=False)
    h = torch.zeros(1, rows, 4)
    with pytest.raises(RuntimeError, match=f"expected a 3-D tensor with batch 3, got .1, {rows}, 4."):
        torch.compile(cell(3, 4), backend="aot_eager")(packed, (h, h) if cell is FusedLSTM else h)


def test_compile_without_fullgraph(cell):
    module, x = cell(3, 4), torch.randn(2, 2, 3)
    torch.testing.assert_close(torch.compile(module, backend="eager")(x)[0], module(x)[0])


def test_reset_before_compiles_too():
    module = FusedGRU(3, 4, reset_after=False)
    (x,), _ = given("floats")
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="aot_eager")(x)[0], module(x)[0])


def test_compiled_code_follows_use_backend(monkeypatch):
    torch.compiler.reset()
    module, (x,) = FusedGRU(3, 4), given("floats")[0]
    compiled = torch.compile(module, fullgraph=True, backend=lambda graph, example: counted(graph))
    graphs = []

    def counted(graph):
        graphs.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    compiled(x)
    with use_backend("reference"):
        compiled(x)
    compiled(x)
    assert len(graphs) == 2  # one a choice; the third call reuses the first
    assert ["sweep" in " ".join(names) for names in graphs] == [True, False]


@pytest.mark.parametrize("form", ["floats", "ids"])
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("backend", ["auto", "triton"])
def test_export_leaves_steps_and_batch_open(cell, backend, form, strict):
    module = cell(3, 4, 2, bidirectional=True, backend=backend).eval()
    (x,), _ = given(form)
    program = export(module, (x,), dynamic_shapes={"input": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}}, strict=strict)
    (other,), _ = given(form, steps=9, batch=4)
    torch.testing.assert_close(program.module()(other)[0], module(other)[0])


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_export_with_lengths_leaves_steps_and_batch_open(cell, strict):
    module, steps, batch = cell(3, 4, 2, bidirectional=True).eval(), Dim("steps"), Dim("batch")
    program = export(
        module,
        (torch.randn(5, 4, 3),),
        {"lengths": torch.tensor([5, 3, 2, 1])},
        dynamic_shapes={"input": {0: steps, 1: batch}, "lengths": {0: batch}},
        strict=strict,
    )
    x, lengths = torch.randn(9, 3, 3), torch.tensor([9, 1, 4])
    torch.testing.assert_close(program.module()(x, lengths=lengths)[0], module(x, lengths=lengths)[0])


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("given_", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("kind", [FusedGRUCell, FusedLSTMCell])
def test_export_of_a_cell_leaves_the_batch_open(kind, given_, strict):
    module, batch = kind(3, 4), Dim("batch")
    pair = kind is FusedLSTMCell

    def arguments(rows):
        h = torch.randn(rows, 4)
        return (torch.randn(rows, 3), *([((h, h) if pair else h)] if given_ else []))

    shapes = {"input": {0: batch}, **({"hx": ({0: batch},) * 2 if pair else {0: batch}} if given_ else {})}
    program = export(module, arguments(5), dynamic_shapes=shapes, strict=strict).module()
    other = arguments(7)
    for got, expected in zip(program(*other), module(*other), strict=True):
        torch.testing.assert_close(got, expected)


class Model(nn.Module):
    """A model that calls a layer, or a cell, with a state."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(4, 2)

    def forward(self, x, hx):
        found = self.rnn(x, hx)
        return self.head(found if isinstance(self.rnn, FusedGRUCell) else found[0])


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN, FusedGRUCell, FusedLSTMCell, FusedRNNCell])
def test_symbolic_tracing_takes_a_module_whole(kind):
    model, layer = Model(kind(3, 4)), kind in CELLS.values()
    traced = torch.fx.symbolic_trace(model)
    assert "rnn" in [node.target for node in traced.graph.nodes if node.op == "call_module"]
    h = torch.randn(1, 2, 4) if layer else torch.randn(2, 4)
    hx = (h, h) if kind in (FusedLSTM, FusedLSTMCell) else h
    x = torch.randn(5, 2, 3) if layer else torch.randn(2, 3)
    assert torch.equal(traced(x, hx), model(x, hx))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options", [{"p": 0.5}, {"p": 0.0}, {"p": 0.5, "shared_dims": 1}, {"p": 0.5, "inplace": True}], ids=str
)
def test_symbolic_tracing_takes_dropout_whole(options, training):
    """So that the graph follows `train` and `eval`, as with nn.Dropout."""
    traced = torch.fx.symbolic_trace(nn.Sequential(FusedDropout(**options)).train(training))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    x = torch.ones(50, 4)
    assert torch.equal(traced.eval()(x.clone()), x)
    assert torch.equal(traced.train()(x.clone()), x) == (options["p"] == 0)


class OwnDropout(FusedDropout):
    """A user's subclass."""

    def forward(self, input):
        return super().forward(input) * 2


def hooked(module):
    module.register_forward_hook(lambda module, args, output: output)
    return module


@pytest.mark.parametrize("make", [OwnDropout, lambda: hooked(FusedDropout()), lambda: hooked(FusedGRU(3, 4))])
def test_symbolic_tracing_refuses_what_would_run_twice(make):
    with pytest.raises(RuntimeError, match=r"torch\.fx: expected no hooks on \w+ and no forward of its own"):
        torch.fx.symbolic_trace(nn.Sequential(make()))


def test_symbolic_tracing_takes_lengths_as_an_input():
    class Ragged(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FusedGRU(3, 4)

        def forward(self, x, lengths):
            return self.rnn(x, lengths=lengths)[0]

    model, args = Ragged(), (torch.randn(5, 2, 3), torch.tensor([5, 2]))
    assert torch.equal(torch.fx.symbolic_trace(model)(*args), model(*args))


def test_symbolic_tracing_takes_the_dropout_function_and_initial_states():
    gru = FusedGRU(3, 4)

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.initial = gru, InitialState(gru)

        def forward(self, x):
            return self.rnn(functional.dropout(x, 0.5, shared_dims=1), self.initial(x))[0]

    model = Learned()
    traced = torch.fx.symbolic_trace(model)
    targets = [node.target for node in traced.graph.nodes if node.op.startswith("call")]
    assert targets[:3] == [functional.dropout, "initial", "rnn"]
    x = torch.randn(5, 2, 3)
    found = []
    for each in (traced, model):
        torch.manual_seed(0)
        found.append(each(x))
    assert torch.equal(*found)


@pytest.mark.parametrize("form", ["floats", "ids", "lengths"])
@pytest.mark.parametrize("backend", ["aten", "reference"])
def test_fake_tensors_have_the_shapes(cell, backend, form):
    with FakeTensorMode():
        module = cell(3, 4, 2, bidirectional=True, backend=backend)
        args, options = given(form)
        output, states = module(*args, **options)
    assert output.shape == (5, 2, 8)
    assert (states if isinstance(states, torch.Tensor) else states[1]).shape == (4, 2, 4)
