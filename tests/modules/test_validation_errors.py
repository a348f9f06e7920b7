"""Bad input: one line, expected and got, of the type that torch.nn raises."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedLSTM

X = torch.randn(3, 2, 5)
IDS = torch.randint(0, 5, (3, 2))
H = torch.zeros(1, 2, 4)

TABLE = {
    "features": (FusedGRU, (torch.randn(3, 2, 6),), {}, RuntimeError, "Expected 5, got 6"),
    "dtype": (FusedGRU, (X.double(),), {}, ValueError, r"float64\) does not match weight dtype \(torch.float32"),
    "int16 ids": (FusedGRU, (IDS.short(),), {}, ValueError, "Token ids are expected int64 or int32"),
    "dimensions": (FusedGRU, (torch.randn(5),), {}, ValueError, "Expected input to be 2D or 3D .*, got 1D"),
    "dimensions, 4": (FusedGRU, (torch.randn(1, 3, 2, 5),), {}, ValueError, "got 4D"),
    "device": (FusedGRU, (X.to("meta"),), {}, RuntimeError, "expected device cpu, where the weights are, got meta"),
    "id too large": (FusedGRU, (torch.full((3, 2), 5),), {}, IndexError, r"expected 0 to 4 \(input_size - 1\), got 5 to 5"),
    "id negative": (FusedLSTM, (IDS - 9,), {}, IndexError, "got -"),
    "T = 0": (FusedGRU, (X[:0],), {}, RuntimeError, "Expected sequence length to be larger than 0 in RNN, got 0"),
    "hx unbatched": (FusedGRU, (X, H[0]), {}, RuntimeError, "hx should also be 3-D but got 2-D"),
    "hx batched": (FusedGRU, (X[:, 0], H), {}, RuntimeError, "hx should also be 2-D but got 3-D"),
    "hx batch": (FusedGRU, (X, H[:, :1]), {}, RuntimeError, r"Expected hidden size \(1, 2, 4\), got \[1, 1, 4\]"),
    "hx width": (FusedGRU, (X, H[..., :3]), {}, RuntimeError, r"got \[1, 2, 3\]"),
    "hx dtype": (FusedGRU, (X, H.double()), {}, ValueError, "expected dtype torch.float32, that of the weights, got torch.float64"),
    "hx device": (FusedGRU, (X, H.to("meta")), {}, RuntimeError, "hidden: expected device cpu, where the weights are, got meta"),
    "c device": (FusedLSTM, (X, (H, H.to("meta"))), {}, RuntimeError, r"hidden\[1\]: expected device cpu.*, got meta"),
    "hx tuple": (FusedGRU, (X, (H, H)), {}, TypeError, "expected a tensor, got tuple"),
    "lstm hx tensor": (FusedLSTM, (X, H), {}, TypeError, r"expected \(h_0, c_0\), got Tensor"),
    "c batch": (FusedLSTM, (X, (H, H[:, :1])), {}, RuntimeError, r"Expected hidden\[1\] size \(1, 2, 4\)"),
    "lengths a number": (FusedGRU, (X,), {"lengths": 2}, TypeError, "lengths: expected a tensor or a list of integers, got int"),
    "lengths a list": (FusedGRU, (X,), {"lengths": [2]}, ValueError, r"lengths: expected shape \(2,\), got \(1,\)$"),
    "lengths floats": (FusedGRU, (X,), {"lengths": [2, 1.0]}, TypeError, "a list of integers, got a list with 1.0"),
    "lengths lists": (FusedGRU, (X,), {"lengths": ([1], [1])}, TypeError, r"a list of integers, got a list with \[1\]"),
    "lengths device": (FusedGRU, (X,), {"lengths": torch.ones(2, dtype=torch.int64, device="meta")}, RuntimeError,
        "lengths: expected device cpu, that of the input, got meta"),
    "lengths dtype": (FusedGRU, (X,), {"lengths": torch.ones(2)}, TypeError, "expected int32 or int64, got torch.float32"),
    "lengths shape": (FusedGRU, (X,), {"lengths": torch.tensor([1])}, ValueError, r"expected shape \(2,\), got \(1,\)"),
    "lengths long": (FusedGRU, (X,), {"lengths": torch.tensor([4, 1])}, ValueError, "expected 1 to 3 .* got 1 to 4"),
    "lengths zero": (FusedGRU, (X,), {"lengths": torch.tensor([0, 1])}, ValueError, "expected 1 to 3 .* got 0 to 1"),
    "lengths unbatched": (FusedGRU, (X[:, 0],), {"lengths": torch.tensor([1])}, ValueError, "expected None with unbatched"),
    "lengths packed": (FusedGRU, (pack_sequence([X[:, 0]]),), {"lengths": torch.tensor([1])}, ValueError, "PackedSequence"),
    "packed features": (FusedGRU, (pack_sequence([X[:, 0, :3]]),), {}, RuntimeError, "Expected 5, got 3"),
    "packed hx": (FusedGRU, (pack_sequence([X[:, 0]], enforce_sorted=False), H), {}, RuntimeError, "batch 1"),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "reference", "triton"])
@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_bad_call(case, backend):
    module, args, options, error, message = case
    with pytest.raises(error, match=message) as caught:
        module(5, 4, backend=backend)(*args, **options)
    assert "\n" not in str(caught.value)
