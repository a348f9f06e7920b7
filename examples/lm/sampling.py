"""Minibatches of a long text, time-major: inputs and labels (steps, batch) int64, labels one character later.

Both methods are those of the textbook. An epoch reads (nearly) every character once; an incomplete last minibatch is
dropped.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from examples.common.errors import UserError

Batches = Iterator[tuple[Tensor, Tensor]]


def consecutive(ids: Tensor, batch_size: int, steps: int) -> Batches:
    """Split the text into `batch_size` long rows and read them in parallel.

    Minibatch k+1 continues every row where minibatch k ended, so the state may be carried from one to the next.
    """
    row_length = len(ids) // batch_size
    columns = ids[: batch_size * row_length].view(batch_size, row_length).t().contiguous()  # (row_length, batch)
    for k in range(epoch_size("consecutive", len(ids), batch_size, steps)):
        start = k * steps
        yield columns[start : start + steps], columns[start + 1 : start + 1 + steps]


def shuffled(ids: Tensor, batch_size: int, steps: int, generator: torch.Generator) -> Batches:
    """Split the text into non-overlapping windows of `steps` characters, in random order.

    Successive minibatches are unrelated, so each must start from the zero state.
    """
    windows = torch.randperm((len(ids) - 1) // steps, generator=generator).to(ids.device)
    within = torch.arange(steps, device=ids.device).unsqueeze(1)  # (steps, 1)
    for k in range(epoch_size("random", len(ids), batch_size, steps)):
        places = within + steps * windows[k * batch_size : (k + 1) * batch_size]  # (steps, batch)
        yield ids[places], ids[places + 1]


def epoch_size(sampling: str, characters: int, batch_size: int, steps: int) -> int:
    """Return the number of minibatches per epoch.

    Raises:
        UserError: the text is too short for one minibatch.
    """
    if sampling == "consecutive":
        count = (characters // batch_size - 1) // steps
        needed = batch_size * (steps + 1)
    else:
        count = (characters - 1) // steps // batch_size
        needed = batch_size * steps + 1
    if count < 1:
        raise UserError(
            f"expected a corpus of at least {needed} characters for {sampling} sampling "
            f"with batch {batch_size} and {steps} steps, got {characters}"
        )
    return count
