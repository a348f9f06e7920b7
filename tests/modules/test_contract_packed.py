"""Packed sequences as torch.nn's: sizes and orders, states in the user's order, gradients, errors, token ids."""

import itertools

import pytest
import torch
from contract_cases import agree, error_of, flat, hx_of, some_on_triton, total, twins
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from fusedrnn import FusedLSTM


def packed_of(lengths, enforce_sorted=False, dtype=torch.float32):
    return pack_sequence([torch.randn(n, 3, dtype=dtype) for n in lengths], enforce_sorted=enforce_sorted)


PACKED = list(itertools.product([[3, 5, 1, 5], [2, 4, 6], [6, 4, 4, 1]], [True, False], [True, False]))


@some_on_triton(["lengths", "batch_first", "given"], [([1, 3, 2], True, True), *PACKED], [([1, 3, 2], True, True)])
def test_states_of_packed_samples_are_in_the_users_order(pair, backend, lengths, batch_first, given):
    theirs, ours = twins(pair, 3, 4, 2, bidirectional=True, batch_first=batch_first, backend=backend)
    hx = hx_of(ours, 4, len(lengths), 4) if given else None
    for packed in (packed_of(lengths), packed_of(sorted(lengths, reverse=True), enforce_sorted=True)):
        output, states = agree(theirs, ours, packed, hx)
        assert type(output) is PackedSequence
        for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            assert getattr(output, name) is getattr(packed, name)
        padded, sizes = pad_packed_sequence(output)
        inputs, _ = pad_packed_sequence(packed)
        for b, n in enumerate(sizes):
            assert not padded[n:, b].any()
            own_hx = None if hx is None else (hx[0][:, b], hx[1][:, b]) if isinstance(hx, tuple) else hx[:, b]
            alone = ours(inputs[:n, b], own_hx)
            torch.testing.assert_close(padded[:n, b], alone[0], rtol=1e-5, atol=2e-6)
            for state, own in zip(flat(states), flat(alone[1]), strict=True):
                torch.testing.assert_close(state[:, b], own, rtol=1e-5, atol=2e-6)


def test_packed_rows_get_gradients_through_dropout(pair, backend):
    module = pair[1](3, 16, 2, dropout=0.5, backend=backend)
    packed = packed_of([3, 5, 1])
    rows = packed.data.requires_grad_()
    output, _ = module(packed)
    torch.manual_seed(1)
    first = module(packed)[0].data
    torch.manual_seed(1)
    assert torch.equal(module(packed)[0].data, first)
    assert not torch.equal(output.data, first)
    total(output).backward()
    assert (rows.grad.abs().sum(1) > 0).all()


def test_packed_input_of_the_wrong_kind_is_refused(pair, backend):
    theirs, ours = twins(pair, 3, 4, 2, backend=backend)
    wrong_state = hx_of(ours, 2, 5, 4)
    for packed, hx in (
        (packed_of([3, 1], dtype=torch.float64), None),
        (packed_of([3, 1], enforce_sorted=True), wrong_state),
        (packed_of([3, 1], enforce_sorted=True), hx_of(ours, 3, 2, 4)),
        (packed_of([3, 1], enforce_sorted=True), hx_of(ours, 2, 2, 5)),
    ):
        expected, got = (error_of(lambda m=m, p=packed, h=hx: m(p, h)) for m in (theirs, ours))
        assert isinstance(got, RuntimeError | ValueError)
        if pair[1] is not FusedLSTM:
            assert type(got) is type(expected)
    with pytest.raises(RuntimeError, match="Expected 3, got 4"):
        ours(pack_sequence([torch.randn(2, 4)]))


def test_packed_ids_are_packed_one_hot_rows(pair, backend):
    module = pair[1](5, 4, 2, bidirectional=True, backend=backend)
    ids = [torch.randint(0, 5, (n,)) for n in (2, 4, 3)]
    one_hot = pack_sequence([nn.functional.one_hot(i, 5).float() for i in ids], enforce_sorted=False)
    (got, states), (expected, other) = module(pack_sequence(ids, enforce_sorted=False)), module(one_hot)
    torch.testing.assert_close(got.data, expected.data)
    torch.testing.assert_close(states, other)
