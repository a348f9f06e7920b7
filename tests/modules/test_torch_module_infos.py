"""torch's own samples for its recurrent modules (torch.testing._internal.common_modules), run on ours.

The bodies follow the tests that torch runs on every nn.Module: forward against a reference, no batch dimension, gradients of first
and second order, strided inputs and gradients, meta beside CPU, copies, factory arguments, errors.
"""

import copy
import itertools
import pickle

import pytest
import torch
from contract_cases import tensors
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell

OURS = {"nn.GRU": FusedGRU, "nn.LSTM": FusedLSTM, "nn.GRUCell": FusedGRUCell, "nn.LSTMCell": FusedLSTMCell}
INFOS = {info.name: info for info in module_db if info.name in OURS}
WITH_PACKED = {"nn.GRU", "nn.LSTM"}


def samples(name, dtype, requires_grad=False, training=True, device="cpu"):
    extra = {"with_packed_sequence": True} if name in WITH_PACKED else {}
    found = INFOS[name].module_inputs_func(
        INFOS[name], device=device, dtype=dtype, requires_grad=requires_grad, training=training, **extra
    )
    assert found
    return found


def built(name, sample, dtype=torch.float64, training=True, **options):
    args = sample.constructor_input
    return OURS[name](*args.args, **args.kwargs, dtype=dtype, **options).train(training)


def called(module, sample):
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def is_packed(sample):
    return isinstance(sample.forward_input.args[0], PackedSequence)


def leaves(sample):
    found = tensors(list(sample.forward_input.args))
    return [t for t in found if t.requires_grad]


@pytest.fixture(params=INFOS)
def name(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["train", "eval"])
def training(request):
    return request.param


def test_torch_has_samples_for_all_four():
    assert set(INFOS) == set(OURS)


def twins(name, sample, dtype, training, backend):
    ours, args = built(name, sample, dtype, training, backend=backend), sample.constructor_input
    theirs = INFOS[name].module_cls(*args.args, **args.kwargs, dtype=dtype).train(training)
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


@pytest.mark.parametrize("backend", ["aten", "reference"])
def test_forward_is_torchs_and_that_of_its_reference_function(name, training, backend):
    for sample in samples(name, torch.float64, training=training):
        theirs, ours = twins(name, sample, torch.float64, training, backend)
        expected = [called(theirs, sample)]
        if sample.reference_fn is not None and not is_packed(sample):
            expected.append(sample.reference_fn(ours, *sample.forward_input.args, **sample.forward_input.kwargs))
        for want in expected:
            for a, b in zip(tensors(called(ours, sample)), tensors(want), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_forward_on_the_kernels_is_torchs(name):
    for sample in samples(name, torch.float32)[-2:]:
        theirs, ours = twins(name, sample, torch.float32, True, "triton")
        for a, b in zip(tensors(called(ours, sample)), tensors(called(theirs, sample)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("backend", ["aten", "reference"])
def test_gradients_of_first_and_second_order(name, training, backend):
    some = samples(name, torch.float64, requires_grad=True, training=training)
    for sample in some[:: 7 if name in WITH_PACKED else 1]:
        module = built(name, sample, training=training, backend=backend)
        inputs, names = leaves(sample), [n for n, _ in module.named_parameters()]
        count = len(inputs)

        def run(*given, module=module, sample=sample, names=names, count=count):
            weights = dict(zip(names, given[count:], strict=True))
            return tuple(tensors(torch.func.functional_call(module, weights, sample.forward_input.args)))

        given = (*inputs, *module.parameters())
        assert torch.autograd.gradcheck(run, given, fast_mode=True)
        assert torch.autograd.gradgradcheck(run, given, fast_mode=True)


def strided(tensor):
    """The same values with stride 2 in the last dimension."""
    wide = tensor.detach().unsqueeze(-1).repeat_interleave(2, -1)
    return wide[..., 0].requires_grad_(tensor.requires_grad)


def test_strided_inputs_and_gradients(name, training):
    for sample in samples(name, torch.float64, requires_grad=True, training=training):
        if is_packed(sample):
            continue  # its rows are packed by torch
        module, found = built(name, sample, training=training), []
        for change in (lambda t: t, strided):
            args = [tuple(map(change, a)) if isinstance(a, tuple) else change(a) for a in sample.forward_input.args]
            results = tensors(module(*args))
            torch.manual_seed(1)
            grads = [change(torch.randn_like(r)) for r in results]
            wanted = [t for t in tensors(args) if t.requires_grad]
            found.append([*results, *torch.autograd.grad(results, [*wanted, *module.parameters()], grads)])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_meta_has_the_shapes_of_the_cpu(name, training):
    both = (samples(name, torch.float32, training=training, device=device) for device in ("cpu", "meta"))
    for real, shapes in zip(*both, strict=True):
        if is_packed(real):
            continue  # packing reads the lengths
        expected = tensors(called(built(name, real, torch.float32, training), real))
        got = tensors(called(built(name, shapes, torch.float32, training, device="meta"), shapes))
        assert [(t.shape, t.dtype) for t in got] == [(t.shape, t.dtype) for t in expected]
        assert all(t.is_meta for t in got)


def test_copies_compute_the_same(name, training):
    for sample in samples(name, torch.float32, training=training):
        module = built(name, sample, torch.float32, training)
        expected = tensors(called(module, sample))
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert repr(other) == repr(module)
            assert all(torch.equal(a, b) for a, b in zip(tensors(called(other, sample)), expected, strict=True))


@pytest.mark.parametrize(("device", "dtype"), list(itertools.product(["cpu", "meta"], [torch.float32, torch.float64])))
def test_factory_arguments(name, device, dtype):
    for sample in samples(name, dtype):
        args = sample.constructor_input
        module = OURS[name](*args.args, **args.kwargs, device=device, dtype=dtype)
        assert {(p.device.type, p.dtype) for p in module.parameters()} == {(device, dtype)}


def test_memory_format_of_the_module_does_not_matter(name):
    for sample in samples(name, torch.float32):
        module = built(name, sample, torch.float32)
        expected = tensors(called(module, sample))
        module.to(memory_format=torch.contiguous_format)
        assert all(torch.equal(a, b) for a, b in zip(tensors(called(module, sample)), expected, strict=True))


def test_errors_are_those_that_torch_expects(name):
    make = INFOS[name].module_error_inputs_func
    cases = make(INFOS[name], device="cpu", dtype=torch.float32, requires_grad=False, training=True)
    assert cases
    for case in cases:
        args, given = case.module_error_input.constructor_input, case.module_error_input.forward_input
        if case.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(case.error_type, match=case.error_regex):
                OURS[name](*args.args, **args.kwargs)
        else:
            with pytest.raises(case.error_type, match=case.error_regex):
                OURS[name](*args.args, **args.kwargs)(*given.args, **given.kwargs)
