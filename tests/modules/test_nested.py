"""Jagged nested tensors through FusedGRU and FusedLSTM: each sample as torch.nn runs it alone."""

import random

import pytest
import torch
from contract_cases import flat, hx_of, twins
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fusedrnn import FusedGRU, FusedLSTM

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
EXACT = {"rtol": 1e-12, "atol": 1e-12}
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def jagged(parts, **options):
    return torch.nested.nested_tensor(parts, layout=torch.jagged, **options)


def as_hx(states):
    """A list of states in the form that a module takes."""
    return None if not states else states[0] if len(states) == 1 else tuple(states)


def compare(theirs, ours, lengths, tolerance, given=True):
    """Outputs, states and gradients of `ours` with a jagged input, and of `theirs` sample by sample, on float64 weights."""
    dtype = ours.weight_hh_l0.dtype
    rows = theirs.num_layers * (1 + theirs.bidirectional)
    parts = [torch.randn(n, theirs.input_size, dtype=dtype) for n in lengths]
    widths = [theirs.proj_size or theirs.hidden_size, theirs.hidden_size][: 1 + isinstance(theirs, nn.LSTM)]
    states = [torch.randn(rows, len(lengths), width, dtype=dtype, requires_grad=True) for width in widths] * given
    x = jagged(parts, requires_grad=True)
    output, finals = ours(x, as_hx(states))
    outputs = output.unbind()

    wide = [part.double().requires_grad_() for part in parts]
    wide_states = [state.detach().double().requires_grad_() for state in states]
    dim = 0 if theirs.batch_first else 1
    alone = [
        theirs(part.unsqueeze(dim), as_hx([state[:, k : k + 1] for state in wide_states]))
        for k, part in enumerate(wide)
    ]
    expected = [result.squeeze(dim) for result, _ in alone]
    last = [torch.cat(each, 1) for each in zip(*(flat(final) for _, final in alone), strict=True)]
    found, wanted = [*outputs, *flat(finals)], [*expected, *last]
    weights = [torch.randn(each.shape) for each in found]
    got = torch.autograd.grad(
        sum((each * w).sum() for each, w in zip(found, weights, strict=True)), [x, *states, *ours.parameters()]
    )
    target = torch.autograd.grad(
        sum((each * w).sum() for each, w in zip(wanted, weights, strict=True)),
        [*wide, *wide_states, *theirs.parameters()],
    )
    assert output.offsets() is x.offsets()
    for a, b in zip([*found, *got[0].unbind(), *got[1:]], [*wanted, *target], strict=True):
        torch.testing.assert_close(a.double(), b.double(), **tolerance)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("backend", ["reference", "aten", None])
def test_random_lengths_and_options_equal_torchs_samples_alone(backend, seed):
    draw = random.Random(seed)
    lstm = draw.random() < 0.5
    hidden = draw.randint(2, 6)
    options = {
        "num_layers": draw.randint(1, 3),
        "bias": draw.random() < 0.7,
        "batch_first": draw.random() < 0.5,
        "bidirectional": draw.random() < 0.5,
        "dtype": torch.float64,
    }
    if lstm and draw.random() < 0.4:
        options["proj_size"] = draw.randint(1, hidden - 1)
    kinds = (nn.LSTM, FusedLSTM) if lstm else (nn.GRU, FusedGRU)
    theirs, ours = twins(kinds, draw.randint(1, 5), hidden, backend=backend, **options)
    lengths = [draw.randint(1, 7) for _ in range(draw.randint(1, 6))]
    compare(theirs, ours, lengths, EXACT, given=draw.random() < 0.6)


@pytest.mark.parametrize("memory", ["save", "recompute"])
def test_the_kernels_agree(pair, memory):
    pytest.importorskip("triton")
    theirs, ours = (
        pair[0](3, 5, bidirectional=True).double(),
        pair[1](3, 5, bidirectional=True, backend="triton", memory=memory),
    )
    theirs.load_state_dict(ours.state_dict())
    compare(theirs, ours, [2, 4, 1], NEAR)


def test_float32_takes_torchs_function_on_the_packed_rows(pair):
    theirs, ours = twins(pair, 3, 5, 2)
    compare(theirs.double(), ours, [2, 4, 4, 1], NEAR)


def test_the_output_and_every_state_can_be_added_to_the_input(kind, backend):
    x = jagged([torch.randn(n, 4) for n in (2, 5, 1)])
    for first in (False, True):
        output, _, every = kind(4, 4, 2, batch_first=first, backend=backend)(x, return_all_states=True)
        assert (output + x).shape == x.shape
        for layer in every:
            for states in flat(layer):
                assert states.offsets() is x.offsets()
                assert (states + x).shape == x.shape
        assert torch.equal(flat(every[-1])[0].values(), output.values())


def test_states_of_every_step_are_those_of_the_samples_alone(kind, backend):
    module = kind(3, 4, 2, bidirectional=True, backend=backend, dtype=torch.float64)
    parts = [torch.randn(n, 3, dtype=torch.float64) for n in (2, 5, 1)]
    *_, every = module(jagged(parts), return_all_states=True)
    for k, part in enumerate(parts):
        *_, alone = module(part, return_all_states=True)
        for layer, expected in zip(every, alone, strict=True):
            for states, one in zip(flat(layer), flat(expected), strict=True):
                torch.testing.assert_close(states.unbind()[k], one, **EXACT)


def test_jagged_ids_are_jagged_one_hot_rows(kind, backend):
    module = kind(5, 4, 2, bidirectional=True, backend=backend, dtype=torch.float64)
    parts = [torch.randint(0, 5, (n,)) for n in (3, 1, 4)]
    results = []
    for form in (parts, [nn.functional.one_hot(ids, 5).double() for ids in parts]):
        x = jagged(form)
        output, states = module(x)
        assert output.offsets() is x.offsets()
        loss = sum((s.sin().sum() for s in flat(states)), output.values().sin().sum())
        results.append([output.values(), *flat(states), *torch.autograd.grad(loss, module.parameters())])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, **EXACT)
    with pytest.raises(IndexError, match=r"^token ids: expected 0 to 4"):
        module(jagged([torch.tensor([1, 5])]))


def test_dropout_has_the_masks_of_the_packed_samples(kind, backend):
    options = {"dropout": 0.4, "input_dropout": 0.3, "weight_dropout": 0.2, "variational": True}
    module = kind(3, 4, 3, backend=backend, **options)
    parts = [torch.randn(n, 3) for n in (2, 5, 1, 5)]
    x = jagged(parts, requires_grad=True)
    torch.manual_seed(3)
    output, states = module(x)
    torch.manual_seed(3)
    packed, expected = module(nn.utils.rnn.pack_sequence(parts, enforce_sorted=False))
    for got, wanted in zip(output.unbind(), nn.utils.rnn.unpack_sequence(packed), strict=True):
        assert torch.equal(got, wanted)
    assert all(torch.equal(a, b) for a, b in zip(flat(states), flat(expected), strict=True))
    output.values().sum().backward()
    assert x.grad.values().any()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_rows_outside_the_samples_are_not_read_and_their_output_is_zero(kind, dtype):
    starts, lengths = torch.tensor([1, 4, 9, 10], dtype=dtype), torch.tensor([2, 5, 1], dtype=dtype)
    values = torch.full((12, 3), float("nan"))
    parts = [torch.randn(n, 3) for n in (2, 5, 1)]
    for start, part in zip((1, 4, 9), parts, strict=True):
        values[start : start + len(part)] = part
    x = torch.nested.nested_tensor_from_jagged(values, starts, lengths)
    module = kind(3, 4)
    output, _ = module(x)
    assert output.lengths() is lengths
    assert output.values().isfinite().all()
    assert not output.values()[[0, 3, 10, 11]].any()
    for k, (start, part) in enumerate(zip((1, 4, 9), parts, strict=True)):
        torch.testing.assert_close(output.values()[start : start + len(part)], module(part)[0], msg=str(k))


def test_nothing_is_padded(kind):
    largest = 0

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            results = function(*args, **(kwargs or {}))
            for result in results if isinstance(results, (tuple, list)) else (results,):
                if isinstance(result, torch.Tensor) and not result.is_nested:
                    largest = max(largest, result.numel())
            return results

    x = jagged([torch.randn(n, 2) for n in (200, *[1] * 100)])
    with Largest():
        kind(2, 2)(x)
    assert largest <= 300 * 8  # 300 rows of gates; padded there are 200 * 101


def test_what_is_no_jagged_batch_is_refused(kind):
    module, name = kind(3, 4), kind.__name__
    x = jagged([torch.randn(2, 3), torch.randn(4, 3)])
    with pytest.raises(
        ValueError, match=r"^lengths: expected None with a nested tensor, which has its own, got Tensor$"
    ):
        module(x, lengths=torch.tensor([2, 4]))
    with pytest.raises(ValueError, match=r"^input: expected samples of 1 or more steps, got a sample of 0$"):
        module(jagged([torch.randn(2, 3), torch.randn(0, 3)]))
    with pytest.raises(
        ValueError,
        match=rf"^{name}: expected a nested tensor of layout torch.jagged, got torch.strided; "
        r"with batch_first=True, input.to_padded_tensor\(0\) and lengths= serve it too$",
    ):
        module(torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)]))
    shapes = rf"^{name}: expected a jagged input \(B, j, 3\) or token ids \(B, j\), got \(2, "
    for wrong in (x.transpose(1, 2), jagged([torch.randn(2), torch.randn(4)]), jagged([torch.randn(2, 3, 1)] * 2)):
        with pytest.raises(ValueError, match=shapes):
            module(wrong)
    with pytest.raises(RuntimeError, match=r"^input.size\(-1\) must be equal to input_size. Expected 3, got 2$"):
        module(jagged([torch.randn(2, 2)]))
    with pytest.raises(ValueError, match=r"^RNN input dtype \(torch.float64\) does not match weight dtype"):
        module(x.double())
    with pytest.raises(RuntimeError, match=r"^Expected sequence length to be larger than 0 in RNN, got 0$"):
        module(torch.nested.nested_tensor_from_jagged(torch.randn(0, 3), torch.tensor([0])))


def test_states_of_another_batch_are_refused(kind):
    module = kind(3, 4)
    x = jagged([torch.randn(2, 3), torch.randn(4, 3)])
    with pytest.raises(RuntimeError, match=r"^hx: expected a 3-D tensor with batch 2, got \[1, 3, 4\]$"):
        module(x, hx_of(module, 1, 3, 4))


def test_a_strided_tensor_runs_as_its_error_says(kind):
    module = kind(3, 4, batch_first=True)
    parts = [torch.randn(2, 3), torch.randn(4, 3)]
    padded = torch.nested.nested_tensor(parts).to_padded_tensor(0)
    output, _ = module(padded, lengths=torch.tensor([2, 4]))
    torch.testing.assert_close(output[0, :2], module(parts[0])[0])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch reads it while tracing
def test_compiled_code_leaves_it_to_eager_and_whole_graphs_refuse_it(kind):
    module = kind(3, 3)
    x = jagged([torch.randn(2, 3), torch.randn(4, 3)])
    compiled = torch.compile(lambda x: module(x)[0] + x, backend="eager")
    torch.testing.assert_close(compiled(x).values(), (module(x)[0] + x).values())
    torch._dynamo.reset()
    with pytest.raises(
        torch._dynamo.exc.Unsupported, match="expected a PackedSequence, or lengths=, while traced, got"
    ):
        torch.compile(module, backend="eager", fullgraph=True)(x)
