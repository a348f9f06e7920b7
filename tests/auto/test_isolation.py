"""A measurement in the middle of a user's forward sees nothing of the user's state, and changes none of it."""

import contextlib
import signal
import threading
import time

import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fusedrnn import FusedGRU, use_backend
from fusedrnn.auto import known, settle, store
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.machine import machine_of

CPU = torch.device("cpu")


class Counting(TorchDispatchMode):
    """Counts the operators that it sees."""

    seen = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        type(self).seen += 1
        return function(*args, **(kwargs or {}))


class CountingFunctions(TorchFunctionMode):
    """Counts the functions that it sees."""

    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        type(self).seen += 1
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def hooks():
    """Fails where the measurement saves tensors: it saves hundreds, the call itself a few."""
    seen = []
    with saved_tensors_hooks(lambda tensor: seen.append(1) or tensor, lambda tensor: tensor):
        yield
    assert 0 < len(seen) < 40


@contextlib.contextmanager
def counted(mode, most):
    """Fails where a mode sees more than the call itself."""
    mode.seen = 0
    with mode():
        yield
    assert 0 < mode.seen < most


STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.float16),
    "hooks of saved tensors": hooks,
    "save_on_cpu": save_on_cpu,
    "no hooks of saved tensors": lambda: torch.autograd.graph.disable_saved_tensors_hooks("none"),
    "dispatch mode": lambda: counted(Counting, 60),
    "function mode": lambda: counted(CountingFunctions, 200),
    "counter of operations": lambda: FlopCounterMode(display=False),
    "default device": lambda: torch.device("meta"),
    "backend of the block": lambda: use_backend("auto"),
}


@pytest.mark.parametrize("state", STATES)
def test_the_state_of_the_caller_has_no_effect_on_a_measurement(interpreted, net, state):
    module, x = net
    with STATES[state]():
        module(x)
    (decision,) = known.by_kind.values()
    assert decision.backend == "triton", decision.reason
    ((_, kind),) = known.by_kind
    assert kind.training  # of a module in training mode, whether or not gradients are on


def test_the_generators_are_as_they_were(speeds):
    module, x = FusedGRU(3, 5, 2, dropout=0.5), torch.randn(2, 2, 3)
    torch.manual_seed(1)
    first, _ = module(x)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    second, _ = module(x)
    assert torch.equal(first, second)
    assert torch.equal(after, torch.get_rng_state())


def test_the_gradients_and_weights_of_the_user_are_untouched(speeds, net):
    module, x = net
    weights = {name: weight.clone() for name, weight in module.named_parameters()}
    module(x.requires_grad_())
    assert x.grad is None
    for name, weight in module.named_parameters():
        assert weight.grad is None
        assert torch.equal(weight, weights[name])


def test_a_global_default_dtype_has_no_effect(speeds, net):
    module, x = net
    torch.set_default_dtype(torch.float64)
    try:
        module(x)
    finally:
        torch.set_default_dtype(torch.float32)
    (decision,) = known.by_kind.values()
    assert decision.backend == "triton", decision.reason


def test_a_function_runs_in_a_thread_of_its_own_and_its_result_or_error_is_passed_on():
    assert isolated(lambda stop: threading.get_ident(), CPU) != threading.get_ident()
    with pytest.raises(KeyError, match="this"):
        isolated(lambda stop: {}["this"], CPU)


def test_an_interrupt_ends_the_thread_before_it_is_raised():
    """A thread that goes on would abort the process at its end."""
    ended, main = [], threading.main_thread().ident

    def slow(stop):
        time.sleep(0.1)
        signal.pthread_kill(main, signal.SIGINT)
        ended.append(stop.wait(30))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell says so
    try:
        with pytest.raises(KeyboardInterrupt):
            isolated(slow, CPU)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True]
    assert "fusedrnn-auto" not in {thread.name for thread in threading.enumerate()}


def test_calls_of_several_threads_measure_once(speeds, net):
    module, x = net
    module(x)
    ((_, kind),) = known.by_kind
    once = speeds.ran["kernels"] - 1
    store.path_of(machine_of(CPU)).unlink()
    known.forget()
    speeds.ran.clear()
    found = []
    threads = [threading.Thread(target=lambda: found.append(settle.settle(kind, CPU))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert speeds.ran["kernels"] == once
    assert len({decision.ours_ms for decision in found}) == len({id(decision) for decision in found}) == 1
