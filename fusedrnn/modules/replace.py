"""Replace torch.nn's recurrent modules in a model by ours, in place, and restore them.

Only the class of a module changes; the object stays the same. So parameters, optimisers, hooks, flags, pruning, weight norms,
shared modules, lists that hold a module, and a root module itself all stay valid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from fusedrnn import validation
from fusedrnn.modules.cells import FusedGRUCell, FusedLSTMCell, FusedRNNCell
from fusedrnn.modules.rnn import FusedGRU, FusedLSTM, FusedRNN
from fusedrnn.types import Backend

FUSED: dict[type, type] = {
    nn.GRU: FusedGRU,
    nn.LSTM: FusedLSTM,
    nn.RNN: FusedRNN,
    nn.GRUCell: FusedGRUCell,
    nn.LSTMCell: FusedLSTMCell,
    nn.RNNCell: FusedRNNCell,
}
TORCH = {fused: torch for torch, fused in FUSED.items()}
_RECURRENT = {"RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"}


@dataclass(frozen=True)
class Replacements:
    """What was done to a model. Keys are names of modules: "" for the root, all names of a shared module joined by ", ".

    Attributes:
        changed: class before and after, as "GRU -> FusedGRU".
        left: reason why a recurrent module was not changed.

    Example:
        >>> import torch
        >>> from fusedrnn import replace_rnns
        >>> model = torch.nn.ModuleDict({"encoder": torch.nn.GRU(8, 16), "head": torch.nn.Linear(16, 2)})
        >>> report = replace_rnns(model)
        >>> report.changed, report.left
        ({'encoder': 'GRU -> FusedGRU'}, {})
        >>> print(report)
        encoder: GRU -> FusedGRU
    """

    changed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line per module."""
        lines = [f"{name or '(root)'}: {what}" for name, what in self.changed.items()]
        lines += [f"{name or '(root)'}: left, {why}" for name, why in self.left.items()]
        return "\n".join(lines) or "no recurrent modules"


def replace_rnns(model: nn.Module, *, backend: Backend | None = None) -> Replacements:
    """Replace every `nn.GRU`, `nn.LSTM`, `nn.RNN` and cell of these in `model`, or `model` itself, by ours, in place.

    The modules stay the same objects with the same parameters, hooks and flags, and state_dicts do not change. But
    `isinstance(module, nn.GRU)` becomes False: our classes subclass `nn.RNNBase` (cells: `RNNCellBase`), not `nn.GRU`.

    Args:
        model: any module.
        backend: the argument `backend` of every new module; see `FusedGRU`. Default: None.

    Returns:
        What was replaced, and what was left and why, as subclasses, quantised and scripted modules are.

    Raises:
        TypeError: `model` is not a module.
        ValueError: the backend does not exist.

    Example:
        >>> import torch
        >>> from fusedrnn import replace_rnns
        >>> model = torch.nn.Sequential(torch.nn.LSTM(8, 16, batch_first=True))
        >>> print(replace_rnns(model))
        0: LSTM -> FusedLSTM
        >>> model
        Sequential(
          (0): FusedLSTM(8, 16, batch_first=True)
        )
    """
    validation.check_module("model", model)
    defaults = {fused: _options(fused, backend) for fused in TORCH}
    report = Replacements()
    for name, module in _modules(model):
        kind = _plain_class(module)
        if kind in FUSED and not getattr(module, "proj_size", 0) * (kind is nn.GRU):
            fused = FUSED[kind]
            _turn(module, fused)
            module.__dict__.pop("_flat_weights", None)  # a property in our class
            module.__dict__.update(defaults[fused])
            report.changed[name] = f"{kind.__name__} -> {fused.__name__}"
        else:
            why = _why_left(module)
            if why:
                report.left[name] = why
    return report


def restore_rnns(model: nn.Module) -> Replacements:
    """Replace every `FusedGRU`, `FusedLSTM`, `FusedRNN` and cell of these in `model` by torch.nn's, in place.

    Reverses `replace_rnns`. Modules that were created as ours are replaced too. The `backend` of a module is dropped.

    Args:
        model: any module.

    Returns:
        What was restored, and what was left because it uses an option that torch.nn does not have.

    Raises:
        TypeError: `model` is not a module.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedGRU, restore_rnns
        >>> model = torch.nn.Sequential(FusedGRU(8, 16), FusedGRU(16, 16, zoneout=0.1))
        >>> print(restore_rnns(model))
        0: FusedGRU -> GRU
        1: left, torch.nn has no zoneout=0.1
    """
    validation.check_module("model", model)
    report = Replacements()
    for name, module in _modules(model):
        kind = _plain_class(module)
        if kind not in TORCH:
            continue
        options = _options(kind, module.backend)
        beyond = _beyond(module, options)
        if beyond:
            report.left[name] = beyond
            continue
        _restore(module, kind, options)
        report.changed[name] = f"{kind.__name__} -> {TORCH[kind].__name__}"
    return report


def as_torch(module: nn.Module, door: str, without: Collection[str] = ()) -> nn.Module:
    """A torch.nn module that shares its parameters, flags and hooks with `module`.

    Args:
        module: one of ours, or of a subclass; it is not changed.
        door: what needs it, for the message.
        without: options that may be dropped.

    Raises:
        RuntimeError: `module` uses an option that torch.nn does not have.
    """
    kind = next(base for base in type(module).__mro__ if base in TORCH)
    options = _options(kind, module.backend)
    beyond = _beyond(module, options, without)
    if beyond:
        raise RuntimeError(f"{door}: expected options of torch.nn's {TORCH[kind].__name__}, got more: {beyond}")
    twin = type(module).__new__(type(module))
    twin.__dict__.update(module.__dict__)
    _restore(twin, kind, options)
    return twin


def _beyond(module: nn.Module, options: dict[str, Any], without: Collection[str] = ()) -> str | None:
    """Which of `options` torch.nn would need, apart from those `without` which `module` may be; None if there are none."""
    used = {key: getattr(module, key) for key, default in options.items() if getattr(module, key) != default}
    beyond = [f"{key}={value!r}" for key, value in used.items() if key not in without]
    return f"torch.nn has no {', '.join(beyond)}" if beyond else None


def _restore(module: nn.Module, kind: type, options: dict[str, Any]) -> None:
    """Turn `module` of the class `kind`, or of a subclass, into torch.nn's, without `options`."""
    for key in options:
        delattr(module, key)
    _turn(module, TORCH[kind])
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module once, with all its names joined."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    for module, known in names.items():
        yield ", ".join(known), module


def _options(fused: type, backend: Any) -> dict[str, Any]:
    """The attributes that our class has and torch.nn's has not: `backend` as given, the others with their defaults."""
    theirs, ours = TORCH[fused](1, 2, device="meta"), fused(1, 2, device="meta", backend=backend)
    return {key: value for key, value in ours.__dict__.items() if key not in theirs.__dict__}


def _plain_class(module: nn.Module) -> type:
    """The class of `module`, without the subclass that `torch.nn.utils.parametrize` creates."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def _turn(module: nn.Module, kind: type) -> None:
    """Change the class of `module` to `kind`; if it is parametrized, to a parametrized subclass of `kind`."""
    if parametrize.is_parametrized(module):
        own = {k: v for k, v in vars(type(module)).items() if k not in ("__dict__", "__weakref__")}
        kind = type(f"Parametrized{kind.__name__}", (kind,), own)
    module.__class__ = kind


def _why_left(module: nn.Module) -> str | None:
    """Why a recurrent module was not replaced; None for other modules."""
    kind = _plain_class(module)
    if kind is nn.GRU:
        return "a GRU with proj_size runs nowhere"
    for known in FUSED:
        if isinstance(module, known):
            own = "forward" in {name for base in kind.__mro__[: kind.__mro__.index(known)] for name in vars(base)}
            what = "with a forward of its own" if own else "whose code may need its base"
            return f"{kind.__name__} is a subclass of nn.{known.__name__} {what}"
    if kind.__module__.startswith("torch.ao") and kind.__name__ in _RECURRENT:
        return f"{kind.__name__} is quantised"
    if getattr(module, "original_name", None) in _RECURRENT:
        return f"{module.original_name} is compiled by torch.jit"
    return None
