"""The time loop for any cell: one layer over a whole sequence, in one or two directions.

Direction 0 reads t = 0..T-1, direction 1 reads t = T-1..0 (Schuster & Paliwal, "Bidirectional recurrent neural
networks", 1997). With several heads, blocks of units that do not see each other's state, a direction is as many loops.

With `lengths`, a sample's state does not change in its padding, t >= lengths[b], so that direction 1 starts at
lengths[b] - 1. In the padding the trace is zero, and the input, even NaN, has no effect on results and gradients.

With `resets`, a sample starts anew from its initial state at some steps, as at the first step of an episode, and nothing
flows across: direction 0 starts anew before such a step, direction 1 after it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .noise import Noise, Update, drawn, updated

State = tuple[Tensor, ...]


def over_time(
    cell: Callable[..., State],
    gx: Tensor,
    initial: State,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    resets: Tensor | None = None,
    noise: Noise | None = None,
    heads: int = 1,
) -> tuple[State, State]:
    """Run ``cell(gx_t, *state, *weights) -> state`` over T steps in each of D directions.

    Args:
        cell: one step of one direction; with recurrent dropout, the factor of its candidate follows the weights.
        gx: input of every step, (T, B, D, G*H).
        initial: state tensors, each (D, B, ...).
        weights: arguments of the cell after its state, each (D, ...) or None.
        lengths: number of steps of each sample, (B,) integers from 0 to T; None means T for all.
        resets: whether a sample starts anew at a step, (T, B) booleans; None means that none does.
        noise: zoneout and recurrent dropout.
        heads: N, heads of a direction; then D counts the heads of all directions, those of the first one first.

    Returns:
        The trace, the state tensors of every step, each (T, B, D, ...), and the final state, each (D, B, ...).
    """
    active = None if lengths is None else active_steps(lengths, gx.shape[0]).unsqueeze(-1)  # (T, B, 1)
    if active is not None:
        gx = torch.where(active.unsqueeze(-1), gx, 0.0)
    anew = begins(resets, lengths, gx.shape[2], heads)
    shape = (*gx.shape[:3], initial[-1].shape[-1])
    *news, factors = drawn(Noise(None) if noise is None else noise, shape, gx.dtype)
    directions = [
        _one_direction(
            cell,
            gx[:, :, d].unbind(),
            tuple(state[d] for state in initial),
            [None if weight is None else weight[d] for weight in weights],
            None if active is None else active.unbind(),
            None if anew is None else anew[:, :, d : d + 1].unbind(),
            [new[:, :, d].unbind() if isinstance(new, Tensor) else [new] * len(gx) for new in news[: len(initial)]],
            None if factors is None else factors[:, :, d].unbind(),
            reverse=d >= heads,
        )
        for d in range(gx.shape[2])
    ]
    traces, finals = zip(*directions, strict=True)
    trace = tuple(torch.stack(states, dim=2) for states in zip(*traces, strict=True))
    if active is not None:
        trace = tuple(torch.where(active.unsqueeze(-1), states, 0.0) for states in trace)
    return trace, tuple(torch.stack(states) for states in zip(*finals, strict=True))


def active_steps(lengths: Tensor, steps: int) -> Tensor:
    """Return (T, B) booleans: whether a step is before the end of its sample, from (B,) integers."""
    return torch.arange(steps, device=lengths.device).unsqueeze(-1) < lengths


def begins(resets: Tensor | None, lengths: Tensor | None, D: int, heads: int = 1) -> Tensor | None:
    """Whether a sample starts anew before a step in each direction, or head of one: (T, B, D) booleans, or None without `resets`.

    In the second direction it does so before the step that, in time, precedes the reset.
    """
    if resets is None:
        return None
    if lengths is not None:
        resets = resets & active_steps(lengths, len(resets))
    ways = [resets, torch.cat([resets[1:], torch.zeros_like(resets[:1])])]
    return torch.stack([ways[d // heads] for d in range(D)], -1)


def _one_direction(
    cell: Callable[..., State],
    gx: Sequence[Tensor],
    initial: State,
    weights: Sequence[Tensor | None],
    active: Sequence[Tensor] | None,
    anew: Sequence[Tensor] | None,
    news: Sequence[Sequence[Update]],
    factors: Sequence[Tensor] | None,
    *,
    reverse: bool,
) -> tuple[State, State]:
    """Return the state tensors of every step, each (T, B, *), ordered by t, and the state after the last computed step."""
    trace: list[State] = []
    times, state = range(len(gx)), initial
    for t in reversed(times) if reverse else times:
        if anew is not None:
            state = tuple(torch.where(anew[t], first, before) for first, before in zip(initial, state, strict=True))
        new = cell(gx[t], *state, *weights, *(() if factors is None else (factors[t],)))
        new = tuple(updated(after, old, weight[t]) for after, old, weight in zip(new, state, news, strict=True))
        if active is not None:  # in its padding a sample keeps its state
            new = tuple(torch.where(active[t], after, before) for after, before in zip(new, state, strict=True))
        state = new
        trace.append(state)
    if reverse:
        trace.reverse()
    return tuple(torch.stack(states) for states in zip(*trace, strict=True)), state
