"""Minibatches of the lyrics experiment: what each holds, and that labels come one character later."""

from itertools import pairwise

import pytest
import torch

from examples.common.errors import UserError
from examples.lm.sampling import consecutive, epoch_size, shuffled

SIZES = [(101, 3, 5), (97, 2, 7), (40, 7, 4), (19, 3, 5), (350, 1, 11)]  # characters, batch, steps
ids = pytest.mark.parametrize(("characters", "batch", "steps"), SIZES, ids=[f"N{n}-B{b}-T{t}" for n, b, t in SIZES])


def random_batches(characters: int, batch: int, steps: int, seed: int = 0):
    return list(shuffled(torch.arange(characters), batch, steps, torch.Generator().manual_seed(seed)))


@ids
def test_labels_are_the_inputs_one_character_later(characters, batch, steps):
    text = torch.arange(characters)  # the id is the place in the text, so label = input + 1
    for inputs, labels in [*consecutive(text, batch, steps), *random_batches(characters, batch, steps)]:
        assert inputs.shape == labels.shape == (steps, batch)
        assert inputs.dtype == labels.dtype == torch.int64
        assert torch.equal(labels, inputs + 1)


@ids
def test_each_column_is_a_stretch_of_text(characters, batch, steps):
    for inputs, _ in [*consecutive(torch.arange(characters), batch, steps), *random_batches(characters, batch, steps)]:
        assert torch.equal(inputs, inputs[0] + torch.arange(steps).unsqueeze(1))


@ids
def test_consecutive_minibatches_go_on_where_the_last_one_ended(characters, batch, steps):
    batches = list(consecutive(torch.arange(characters), batch, steps))
    assert torch.equal(batches[0][0][0], torch.arange(batch) * (characters // batch))
    for (inputs, _), (following, _) in pairwise(batches):
        assert torch.equal(following[0], inputs[-1] + 1)


@ids
def test_random_windows_do_not_overlap_and_lie_on_the_grid(characters, batch, steps):
    starts = torch.cat([inputs[0] for inputs, _ in random_batches(characters, batch, steps)])
    assert len(set(starts.tolist())) == len(starts)
    assert (starts % steps == 0).all()


@ids
def test_an_epoch_has_the_textbooks_number_of_minibatches(characters, batch, steps):
    count = epoch_size("consecutive", characters, batch, steps)
    assert len(list(consecutive(torch.arange(characters), batch, steps))) == count
    assert count == (characters // batch - 1) // steps
    count = epoch_size("random", characters, batch, steps)
    assert len(random_batches(characters, batch, steps)) == count
    assert count == ((characters - 1) // steps) // batch


def test_random_windows_come_in_another_order_each_epoch_and_in_the_same_for_a_seed():
    generator = torch.Generator().manual_seed(3)
    first, second = (list(shuffled(torch.arange(300), 2, 5, generator)) for _ in range(2))
    again = random_batches(300, 2, 5, seed=3)
    assert not torch.equal(first[0][0], second[0][0])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("sampling", "needed"), [("consecutive", 7 * 6), ("random", 7 * 5 + 1)])
def test_the_shortest_text_gives_one_minibatch_and_one_character_less_an_error(sampling, needed):
    assert epoch_size(sampling, needed, 7, 5) == 1
    with pytest.raises(UserError, match=rf"expected a corpus of at least {needed} characters .* got {needed - 1}"):
        epoch_size(sampling, needed - 1, 7, 5)
