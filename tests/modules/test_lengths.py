"""`lengths`: the same gradients as packed sequences, and nothing read from padding."""

import numpy as np
import pytest
import torch
from contract_cases import INPUTS, PATHS, flat, tensors
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, functional
from fusedrnn.functional import LayerWeights


@pytest.mark.parametrize("path", [path for path in PATHS if path[0] != "triton"], ids="-".join)
def test_lengths_and_packing_have_the_same_gradients(kind, path):
    backend, form = path
    x, lengths = INPUTS[form](torch.float64), [2, 3]
    gradients = []
    for packed in (False, True):
        torch.manual_seed(5)
        module = kind(3, 4, 2, bidirectional=True, dtype=torch.float64, backend=backend)
        if packed:
            output, states = module(pack_sequence([x[:n, b] for b, n in enumerate(lengths)], enforce_sorted=False))
            output = output.data
        else:
            output, states = module(x, lengths=torch.tensor(lengths))
        total = sum((s.sin().sum() for s in flat(states)), output.sin().sum())  # padding adds sin(0)
        gradients.append([total.detach(), *torch.autograd.grad(total, module.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_padding_changes_no_result_and_no_gradient(kind, backend):
    module = kind(3, 4, 2, bidirectional=True, backend=backend)
    clean = torch.randn(4, 2, 3)
    results = []
    for filler in (0.0, float("nan"), float("inf")):
        x = clean.clone()
        x[2:, 1] = filler
        x.requires_grad_()
        module.zero_grad()
        output, states = module(x, lengths=torch.tensor([4, 2]))
        sum((s.sin().sum() for s in flat(states)), output.cos().sum()).backward()
        results.append([output, *flat(states), x.grad, *(p.grad for p in module.parameters())])
    assert not results[0][0][2:, 1].any()
    assert not results[1][-len(list(module.parameters())) - 1][2:, 1].any()
    for other in results[1:]:
        for expected, got in zip(results[0], other, strict=True):
            assert torch.equal(got, expected)


def test_lengths_are_refused_where_the_input_has_its_own_or_no_batch(kind):
    module, lengths = kind(3, 4), torch.tensor([2])
    with pytest.raises(ValueError, match=r"^lengths: expected None with unbatched input, got Tensor$"):
        module(torch.randn(5, 3), lengths=lengths)
    with pytest.raises(
        ValueError, match=r"^lengths: expected None with a PackedSequence, which has its own, got Tensor$"
    ):
        module(pack_sequence([torch.randn(2, 3)]), lengths=lengths)


@pytest.mark.parametrize("given", [[3, 5], (3, 5), list(np.array([3, 5]))], ids=["list", "tuple", "numpy"])
def test_a_list_of_lengths_is_a_tensor_of_them(kind, backend, given):
    module, x = kind(3, 4, backend=backend), torch.randn(5, 2, 3)
    expected, got = (tensors(module(x, lengths=lengths)) for lengths in (torch.tensor([3, 5]), given))
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_functions_and_compiled_modules_take_a_list_of_lengths():
    module, x = FusedGRU(3, 4), torch.randn(5, 2, 3)
    expected, _ = module(x, lengths=torch.tensor([3, 5]))
    assert torch.equal(functional.gru(x, None, [[LayerWeights(*module.parameters())]], lengths=[3, 5])[0], expected)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, lengths=[3, 5])[0], expected)
