"""A device named "other", written in Python: its tensors hold CPU tensors, on which torch's operators run.

It stands for the devices that this package has no kernels for. As on MPS there is no float64, and random integers have at most 32
bits. torch has one place for such a device, and importing this file takes it: import it in a process of its own.
"""

import torch
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("other")
DEVICE = torch.device("other:0")
KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.PrivateUse1)
CALLED = set()
"""Names of the operators that have run on the device."""


class OtherTensor(torch.Tensor):
    """A tensor on the device; `held` is its CPU tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        if held.dtype == torch.float64:
            raise TypeError("expected a dtype of the device 'other', got torch.float64")
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, device=DEVICE, **layout)

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"OtherTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return _run(operator, *args, **(kwargs or {}))


def _run(operator, *args, **kwargs):
    """Run an operator of torch on the held tensors, any other by its kernel for the device."""
    name = operator._schema.name
    CALLED.add(name)
    if not name.startswith("aten::"):
        return operator.redispatch(KEY, *args, **kwargs)
    leaves = name == "aten::_to_copy" and kwargs.get("device", DEVICE).type == "cpu"
    wrappers = {}

    def to_cpu(given):
        if isinstance(given, OtherTensor):
            wrappers[id(given.held)] = given
            return given.held
        if isinstance(given, torch.Tensor) and given.dim() > 0 and name != "aten::copy_":
            raise RuntimeError(f"{name}: expected tensors on {DEVICE}, got one on {given.device}")
        return torch.device("cpu") if isinstance(given, torch.device) else given

    def from_cpu(result):
        if leaves or not isinstance(result, torch.Tensor):
            return result
        return wrappers[id(result)] if id(result) in wrappers else OtherTensor(result)

    args, kwargs = tree_map(to_cpu, (args, kwargs))
    if name == "aten::random_" and args[2] - args[1] >= 1 << 32:
        raise RuntimeError(f"{name}: expected at most 32 bits, got {args[1]} to {args[2]}")
    return tree_map(from_cpu, operator(*args, **kwargs))


_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(_run, "PrivateUse1")  # operators without a tensor among their arguments
