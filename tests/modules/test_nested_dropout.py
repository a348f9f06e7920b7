"""Dropout of nested tensors, as torch.nn.Dropout takes them: jagged and strided."""

import pytest
import torch
from contract_cases import BACKENDS
from torch import nn

from fusedrnn import FusedDropout
from fusedrnn.functional import dropout

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")

LAYOUTS = {"jagged": torch.jagged, "strided": torch.strided}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request):
    return request.param


def nest(layout, sizes=((2, 3), (0, 3), (40, 3)), **options):
    return torch.nested.nested_tensor([torch.randn(size).exp() for size in sizes], layout=layout, **options)


def elements(x):
    return torch.cat([part.reshape(-1) for part in x.unbind()])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mask_is_that_of_the_elements_in_a_row(layout, backend):
    x = nest(layout, requires_grad=True)
    torch.manual_seed(7)
    y = FusedDropout(0.4, backend=backend)(x)
    torch.manual_seed(7)
    row = elements(x) if layout == torch.strided else x.values()
    expected = dropout(row.detach(), 0.4, backend="reference").flatten()
    assert 0 < (expected == 0).sum() < expected.numel()
    assert torch.equal(elements(y), expected)
    weights = torch.randn(126)
    (elements(y) * weights).sum().backward()
    torch.testing.assert_close(elements(x.grad), weights * expected / elements(x.detach()))


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_only_a_random_mask_draws_a_number(layout, p):
    x, before = nest(layout), torch.get_rng_state()
    y = FusedDropout(p)(x)
    assert torch.equal(before, torch.get_rng_state()) == (p != 0.5)
    assert (y is x) == (p == 0)
    assert bool(elements(y).any()) == (p != 1)
    assert FusedDropout(p).eval()(x) is x


def test_a_jagged_result_keeps_its_offsets_and_what_is_known_of_them():
    offsets = torch.tensor([0, 2, 2, 6])
    x = torch.nested.nested_tensor_from_jagged(torch.ones(6, 3), offsets, min_seqlen=0, max_seqlen=4)
    for given in (x, x.transpose(1, 2)):
        y = FusedDropout()(given)
        assert y.offsets() is offsets
        assert (y._maybe_min_seqlen, y._maybe_max_seqlen) == (0, 4)
        assert (y + given).shape == given.shape == y.shape


def test_a_jagged_tensor_with_holes_keeps_them():
    starts, lengths = torch.tensor([0, 1, 0]), torch.tensor([2, 3, 5])
    x = torch.nested.narrow(torch.ones(3, 5, 2), 1, starts, lengths, layout=torch.jagged)
    y = FusedDropout()(x)
    assert y.lengths() is x.lengths()
    assert [part.shape for part in y.unbind()] == [part.shape for part in x.unbind()]
    assert set(torch.cat([part.flatten() for part in y.unbind()]).tolist()) == {0, 2}


@pytest.mark.parametrize("after", [False, True], ids=["direct", "transposed after"])
@pytest.mark.parametrize("before", [False, True], ids=["direct", "transposed before"])
def test_gradients_pass_transposed_tensors(layout, before, after):
    x = nest(layout, [(2, 3), (40, 3)], requires_grad=True)
    weights = [torch.randn(part.shape) for part in x.unbind()]
    y = FusedDropout(0.5)(x.transpose(1, 2) if before else x)
    y = y.transpose(1, 2) if after else y
    parts = [part.t() if before != after else part for part in y.unbind()]
    sum((part * w).sum() for part, w in zip(parts, weights, strict=True)).backward()
    for grad, part, of, w in zip(x.grad.unbind(), parts, x.unbind(), weights, strict=True):
        torch.testing.assert_close(grad, (w * part / of).detach())
        torch.testing.assert_close(part[part != 0], 2 * of[part != 0])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_in_place_where_torchs_is(layout, p):
    results = []
    for kind in (nn.Dropout, FusedDropout):
        x = nest(layout, [(2, 3), (4, 3)], requires_grad=True)
        given = x * 1
        assert kind(p, inplace=True)(given) is given
        elements(given).sum().backward()
        results.append((elements(given.detach()).count_nonzero(), elements(x.grad)))
    assert results[0][0] == results[1][0] == (18 if p == 0 else 0)
    assert torch.equal(results[0][1], results[1][1])


def test_in_place_with_a_random_mask_is_refused(layout):
    with pytest.raises(NotImplementedError, match="bernoulli"):
        nn.Dropout(0.5, inplace=True)(nest(layout))
    with pytest.raises(RuntimeError, match=r"^dropout: expected p of 0 or 1 for a nested input and inplace, got 0.5$"):
        FusedDropout(0.5, inplace=True)(nest(layout))


def test_what_is_not_taken_is_refused(layout):
    with pytest.raises(ValueError, match=r"^shared_dims: expected 0 with a nested input, got 1$"):
        dropout(nest(layout), 0.5, shared_dims=1)
    with pytest.raises(RuntimeError, match=r"^dropout: expected a floating-point input, got torch.int64$"):
        FusedDropout()(torch.nested.nested_tensor([torch.tensor([1, 2])], layout=layout))
    with pytest.raises(ValueError, match=r"^backend: expected one of auto, reference, aten, triton, got 'x'$"):
        dropout(nest(layout), 0.5, backend="x")


def test_no_part_at_all():
    assert len(FusedDropout()(torch.nested.nested_tensor([])).unbind()) == 0


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # read while torch traces a view
def test_a_jagged_tensor_compiles_whole():
    values, offsets = torch.randn(60, 3).exp().requires_grad_(), torch.tensor([0, 20, 20, 60])
    module = FusedDropout(0.5)
    compiled = torch.compile(lambda x: module(x) + x, fullgraph=True, backend="aot_eager")
    y = compiled(torch.nested.nested_tensor_from_jagged(values, offsets)).values()
    y.sum().backward()
    assert set((y / values).round().flatten().tolist()) == {1, 3}
    torch.testing.assert_close(values.grad, (y / values).detach())
