"""One epoch of truncated backpropagation through time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from examples.common.errors import UserError
from fusedrnn.reference.optim import clip_gradients_

from .model import CharModel, State
from .optimizers import Optimizer
from .sampling import Batches


def train_epoch(
    model: CharModel,
    optimizer: Optimizer,
    batches: Batches,
    *,
    clip: float,
    carry_state: bool,
    progress: Callable[[int], None],
) -> float:
    """Train on every minibatch once and return the perplexity, exp of the mean cross-entropy per character.

    The initial state of a minibatch is the detached last state of the previous one with `carry_state`, else zero; gradients
    stop at the first step of the minibatch.

    Args:
        model: the model, updated in place.
        optimizer: updates the parameters with the clipped gradients.
        batches: pairs of inputs and labels, (steps, batch) int64.
        clip: largest global norm of the gradients.
        carry_state: whether a minibatch continues the text of the previous one.
        progress: called after every minibatch with its number of characters; may raise to stop.

    Raises:
        UserError: training has diverged.
    """
    state: State | None = None
    total, characters = torch.zeros((), device=model.head.weight.device), 0
    for inputs, labels in batches:
        state = tuple(part.detach() for part in state) if carry_state and state is not None else None
        scores, state = model(inputs, state)
        loss = cross_entropy(scores.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients_(model.parameters(), clip)
        optimizer.step()
        total += loss.detach() * labels.numel()
        characters += labels.numel()
        progress(labels.numel())
    return perplexity(total, characters)


def perplexity(total: Tensor, characters: int) -> float:
    """Return exp(total / characters), the number of equally likely characters with the same cross-entropy."""
    mean = total.item() / characters
    if not mean < 700:  # exp would overflow, or the mean is NaN
        raise UserError(f"expected training to lower the loss, got {mean:.4g} a character: lower --lr or --clip")
    return math.exp(mean)
