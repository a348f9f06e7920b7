"""Dtypes of results and gradients as torch.nn's: each floating-point dtype, and autocast."""

import torch
from contract_cases import flat, some_on_triton, tensors, total, twins

X = torch.randn(5, 2, 3)


@some_on_triton(["dtype"], [(torch.float64,), (torch.float16,), (torch.bfloat16,)], [(torch.float16,)])
def test_results_and_gradients_have_the_dtype_of_the_input(pair, backend, dtype):
    theirs, ours = twins(pair, 3, 4, 2, dtype=dtype, backend=backend)
    x = torch.randn(5, 2, 3).to(dtype).requires_grad_()
    found = []
    for module in (theirs, ours):
        result = module(x)
        assert all(t.dtype == dtype for t in tensors(result))
        found.append([*tensors(result), *torch.autograd.grad(total(result), [x, *module.parameters()])])
    tolerance = {torch.float64: 1e-12, torch.float16: 2e-2, torch.bfloat16: 0.2}[dtype]  # some ten roundings of sums
    for expected, got in zip(*found, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_autocast_gives_half_precision_or_float32_and_float32_gradients(pair, backend):
    for x in (X, X.bfloat16(), torch.zeros(5, 2, dtype=torch.int64)):
        module = pair[1](3, 4, 2, backend=backend)
        with torch.autocast("cpu", torch.bfloat16):
            output, states = module(x)
        exact, _ = module(x.float() if x.is_floating_point() else x)
        torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.02)
        assert all(r.dtype in (torch.bfloat16, torch.float32) for r in (output, *flat(states)))
        output.float().sum().backward()
        assert all(p.grad.dtype == torch.float32 for p in module.parameters())
