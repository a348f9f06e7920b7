"""Checks of the options of layers and functions, each alone and all together. Errors say what was expected and what was given."""

from __future__ import annotations

from numbers import Real
from typing import Any, TypeVar, get_args

from fusedrnn.call import Spec
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.types import Memory, Nonlinearity

Name = TypeVar("Name", bound=str)
_MEMORIES, _NONLINEARITIES = get_args(Memory), get_args(Nonlinearity)


def check_memory(given: Name) -> Name:
    """Return `given` if it is "save" or "recompute", else raise a ValueError."""
    if given not in _MEMORIES:
        raise ValueError(f"memory: expected 'save' or 'recompute', got {given!r}")
    return given


def check_nonlinearity(given: Name) -> Name:
    """Return `given` if it is "tanh" or "relu", else raise a ValueError."""
    if given not in _NONLINEARITIES:
        raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {given!r}")
    return given


def check_zoneout(given: Any, *, has_c: bool) -> tuple[float, float]:
    """The probabilities of zoneout for h and c, from one for h or, for a cell with c, a pair; else a TypeError or ValueError."""
    pair = given if isinstance(given, tuple | list) else (given, 0.0)
    if len(pair) != 2 or not all(isinstance(p, int | float) for p in pair):
        raise TypeError(f"zoneout: expected a probability or, for h and c, two of them, got {given!r}")
    if isinstance(given, tuple | list) and not has_c:
        raise ValueError(f"zoneout: expected one probability, for there is no c, got {given!r}")
    h, c = (check_below_one("zoneout", float(p)) for p in pair)
    return h, c


def check_below_one(name: str, p: float) -> float:
    """Return `p` if it is from 0 to below 1, else raise a TypeError, or a ValueError, also for NaN."""
    if not isinstance(p, int | float):
        raise TypeError(f"{name}: expected a probability, got {p!r}")
    if not 0 <= p < 1:
        raise ValueError(f"{name}: expected a probability from 0 to below 1, got {p}")
    return p


def check_heads(given: Any) -> int:
    """Return `given` if it is a positive integer, else raise a TypeError or a ValueError."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"heads: expected an integer, got {given!r}")
    if given < 1:
        raise ValueError(f"heads: expected 1 or more, got {given}")
    return given


def check_flag(name: str, given: Any) -> bool:
    """Return `given` if it is True or False, else raise a TypeError."""
    if not isinstance(given, bool):
        raise TypeError(f"{name}: expected True or False, got {given!r}")
    return given


def check_dropout(given: Any) -> None:
    """Raise the errors that torch.nn's layers raise for `dropout`, with what was given."""
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not number or not 0 <= given <= 1:
        expected = "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        kind = ValueError if isinstance(given, Real | str) else TypeError
        raise kind(f"{expected}, got {given!r}")


def check_extras(spec: Spec, *, projected: bool) -> None:
    """Raise a TypeError or a ValueError if an option of `spec` is wrong, or options cannot be combined."""
    check_heads(spec.heads)
    check_below_one("recurrent_dropout", spec.recurrent_dropout)
    if spec.recurrent_dropout and NUMBERS[spec.cell].gates == 1:
        raise ValueError(
            f"recurrent_dropout: expected 0 for an RNN, which has no candidate, got {spec.recurrent_dropout}"
        )
    if spec.hidden_size % spec.heads:
        raise ValueError(f"heads: expected a divisor of hidden_size {spec.hidden_size}, got {spec.heads}")
    if projected and any(spec.zoneout):
        raise ValueError(f"zoneout: expected 0 with a projection, which h is a product of, got {spec.zoneout}")
    if spec.layer_norm and spec.cell == "gru_before":
        raise ValueError("layer_norm: expected False with reset_after=False, whose last product is not of h, got True")
    if spec.layer_norm and projected:
        raise ValueError("layer_norm: expected False with a projection, which h is a product of, got True")
    if spec.layer_norm and spec.heads > 1:
        raise ValueError(
            f"layer_norm: expected False with heads, which do not see each other's sums, got heads={spec.heads}"
        )
    if projected and spec.heads > 1:
        raise ValueError(f"heads: expected 1 with a projection, which all units enter, got {spec.heads}")
