"""No size that is left open while tracing is fixed: the same graph serves batches and lengths far from the example's."""

import itertools

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN

OPTIONS = [{}, {"bidirectional": True, "num_layers": 2, "dropout": 0.5}, {"memory": "recompute"}]
CASES = [
    *itertools.product([FusedGRU, FusedLSTM], OPTIONS),
    (FusedLSTM, {"proj_size": 3}),
    (FusedGRU, {"reset_after": False}),
    (FusedRNN, {}),
]
SIZES = [(3, 7), (8, 40), (9, 10), (64, 2), (2, 200)]
DIMS = {
    "ranges": (Dim("b", min=2, max=64), Dim("t", min=2, max=4000)),
    "AUTO": (Dim.AUTO, Dim.AUTO),
    "DYNAMIC": (Dim.DYNAMIC, Dim.DYNAMIC),
}


@pytest.mark.parametrize("example", [(2, 5), (4, 40)], ids=str)
@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_an_exported_layer_takes_sizes_far_from_the_example(kind, options, dims, example):
    module, (batch, steps) = kind(4, 5, batch_first=True, **options).eval(), DIMS[dims]
    lengths = torch.full(example[:1], example[1])
    shapes = {"input": {0: batch, 1: steps}, "lengths": {0: batch}}
    program = export(module, (torch.randn(*example, 4),), {"lengths": lengths}, dynamic_shapes=shapes).module()
    for b, t in SIZES:
        x, lengths = torch.randn(b, t, 4), torch.randint(1, t + 1, (b,))
        torch.testing.assert_close(program(x, lengths=lengths), module(x, lengths=lengths))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM])
def test_a_layer_exported_with_gradients_takes_small_and_large_batches(kind, strict):
    module = kind(4, 5)
    shapes = {"input": {0: Dim("t", min=2, max=4000), 1: Dim("b", min=2, max=64)}}
    program = export(module, (torch.randn(40, 2, 4),), dynamic_shapes=shapes, strict=strict).module()
    for b, t in SIZES:
        x = torch.randn(t, b, 4)
        torch.testing.assert_close(program(x), module(x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN])
def test_a_layer_compiled_for_open_sizes_is_compiled_once(kind, training):
    torch._dynamo.reset()
    module, counter = kind(4, 5), CompileCounterWithBackend("eager")
    compiled = torch.compile(module, backend=counter, dynamic=True, fullgraph=True)
    with torch.set_grad_enabled(training):
        for b, t in SIZES:
            x = torch.randn(t, b, 4)
            torch.testing.assert_close(compiled(x), module(x))
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind", [FusedGRUCell, FusedLSTMCell])
def test_a_cell_compiled_for_open_sizes_is_compiled_once(kind):
    torch._dynamo.reset()
    module, counter = kind(4, 5), CompileCounterWithBackend("eager")
    compiled = torch.compile(module, backend=counter, dynamic=True, fullgraph=True)
    for b in (2, 7, 64):
        x = torch.randn(b, 4)
        torch.testing.assert_close(compiled(x), module(x))
    assert counter.frame_count == 1
