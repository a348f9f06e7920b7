"""Swap torch.nn's recurrent modules inside a model for ours, in place, and back.

A module keeps its identity: only its class changes. So parameters, optimisers, hooks, flags, pruning, weight norms, modules
that several parents share, lists that hold a module, and the root of the model all stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from fusedrnn.modules.cells import FusedGRUCell, FusedLSTMCell
from fusedrnn.modules.rnn import FusedGRU, FusedLSTM

FUSED: dict[type, type] = {
    nn.GRU: FusedGRU,
    nn.LSTM: FusedLSTM,
    nn.GRUCell: FusedGRUCell,
    nn.LSTMCell: FusedLSTMCell,
}
TORCH = {fused: torch for torch, fused in FUSED.items()}
_RECURRENT = {"RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"}


@dataclass(frozen=True)
class Replacements:
    """What was done to a model: by the name of a module ("" is the root, several names are one shared module).

    Attributes:
        changed: the classes before and after, as "GRU -> FusedGRU".
        left: why a recurrent module was left as it was.
    """

    changed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line a module."""
        lines = [f"{name or '(root)'}: {what}" for name, what in self.changed.items()]
        lines += [f"{name or '(root)'}: left, {why}" for name, why in self.left.items()]
        return "\n".join(lines) or "no recurrent modules"


def replace_rnns(model: nn.Module, *, backend: str | None = None) -> Replacements:
    """Turn every `nn.GRU`, `nn.LSTM`, `nn.GRUCell` and `nn.LSTMCell` inside `model`, itself included, into ours, in place.

    The modules stay the same objects with the same parameters, hooks and flags; state_dicts do not change. Code that asks
    `isinstance(module, nn.GRU)` gets another answer: ours subclass `nn.RNNBase` (cells: `RNNCellBase`), not `nn.GRU`.

    Args:
        model: any module.
        backend: as the argument of `FusedGRU`, for every module that is replaced.

    Returns:
        What was replaced, and what was left and why: `nn.RNN`, subclasses, quantised and scripted modules.

    Raises:
        ValueError: no such backend.
    """
    defaults = {fused: _options(fused, backend) for fused in TORCH}
    report = Replacements()
    for name, module in _modules(model):
        kind = _plain_class(module)
        if kind in FUSED and not getattr(module, "proj_size", 0) * (kind is nn.GRU):
            fused = FUSED[kind]
            _turn(module, fused)
            module.__dict__.pop("_flat_weights", None)  # ours reads the attributes
            module.__dict__.update(defaults[fused])
            report.changed[name] = f"{kind.__name__} -> {fused.__name__}"
        else:
            why = _why_left(module)
            if why:
                report.left[name] = why
    return report


def restore_rnns(model: nn.Module) -> Replacements:
    """Turn every `FusedGRU`, `FusedLSTM`, `FusedGRUCell` and `FusedLSTMCell` inside `model` into torch.nn's, in place.

    Undoes `replace_rnns`; modules that were ours from the start are turned too. The choice of backend is forgotten.

    Returns:
        What was restored, and what was left because it uses an option that torch.nn does not have.
    """
    report = Replacements()
    for name, module in _modules(model):
        kind = _plain_class(module)
        if kind not in TORCH:
            continue
        options = _options(kind, module.backend)
        beyond = [f"{key}={getattr(module, key)!r}" for key, value in options.items() if getattr(module, key) != value]
        if beyond:
            report.left[name] = f"torch.nn has no {', '.join(beyond)}"
            continue
        for key in options:
            delattr(module, key)
        _turn(module, TORCH[kind])
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
        report.changed[name] = f"{kind.__name__} -> {TORCH[kind].__name__}"
    return report


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, under all its names."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    for module, known in names.items():
        yield ", ".join(known), module


def _options(fused: type, backend: Any) -> dict[str, Any]:
    """The attributes that our class has beyond torch.nn's, as they are with this backend and defaults for the rest."""
    theirs, ours = TORCH[fused](1, 2, device="meta"), fused(1, 2, device="meta", backend=backend)
    return {key: value for key, value in ours.__dict__.items() if key not in theirs.__dict__}


def _plain_class(module: nn.Module) -> type:
    """Its class, without the one that `torch.nn.utils.parametrize` puts on top."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def _turn(module: nn.Module, kind: type) -> None:
    """Change the class; what parametrize put on top is put on top of the new one."""
    if parametrize.is_parametrized(module):
        own = {k: v for k, v in vars(type(module)).items() if k not in ("__dict__", "__weakref__")}
        kind = type(f"Parametrized{kind.__name__}", (kind,), own)
    module.__class__ = kind


def _why_left(module: nn.Module) -> str | None:
    """Why a module that is or looks recurrent was not replaced; None if it is no such thing."""
    kind = _plain_class(module)
    if kind in (nn.RNN, nn.RNNCell):
        return f"nn.{kind.__name__} has no fused counterpart"
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
