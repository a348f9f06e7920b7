"""On a GPU: layers with options beyond torch.nn are as accurate as the reference, measured against the reference in float64."""

import pytest
import torch

pytest.importorskip("triton")

from gpu_cases import DEVICE, hold, module, results

pytestmark = pytest.mark.gpu
SEED = 5
OPTIONS = {
    "resets": {},
    "zoneout": {"zoneout": 0.3},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "variational": {"recurrent_dropout": 0.3, "variational": True},
    "heads": {"heads": 4},
    "layer norm": {"layer_norm": True},
    "all": {"zoneout": 0.3, "recurrent_dropout": 0.3, "heads": 2},
    "all, layer norm": {"zoneout": 0.3, "recurrent_dropout": 0.3, "layer_norm": True},
}
WITH_RESETS = ("resets", "all", "all, layer norm")
SIZES = [(33, 40, 64), (30, 37, 256), (17, 33, 512), (9, 16, 1024)]  # T, B, H: one program a lane, and several
KEPT = 0.9  # share of the steps before which no sample starts anew


def options_of(cell, name):
    """Of the module; an LSTM has zoneout of c too."""
    options = dict(OPTIONS[name])
    if cell == "lstm" and "zoneout" in options:
        options["zoneout"] = (0.3, 0.2)
    return options


def compared(cell, name, dtype, T, B, H, training=True):
    """Hold the kernels to the error that the reference makes in the same dtype."""
    options = options_of(cell, name)
    ours = module(cell, 24, H, dtype, "triton", bidirectional=True, **options).train(training)
    generator = torch.Generator(DEVICE).manual_seed(SEED)
    x = torch.randn(T, B, 24, generator=generator, device=DEVICE).to(dtype)
    up = torch.randn(T, B, 2 * H, generator=generator, device=DEVICE).to(dtype)
    given = {"lengths": torch.randint(1, T + 1, (B,), generator=generator, device=DEVICE)}
    if name in WITH_RESETS:
        given["resets"] = torch.rand(T, B, generator=generator, device=DEVICE) > KEPT

    def run(net, dtype):
        torch.manual_seed(SEED)  # of the masks, which are the same on every backend
        return results(net, x.to(dtype), up.to(dtype), **given)

    def reference(dtype):
        net = module(cell, 24, H, dtype, "reference", bidirectional=True, **options).train(training)
        net.load_state_dict(ours.state_dict())
        return run(net, dtype)

    hold(run(ours, dtype), reference(dtype), reference(torch.float64), dtype)


@pytest.mark.parametrize(("T", "B", "H"), SIZES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_as_accurate_as_the_reference(name, cell, dtype, T, B, H):
    compared(cell, name, dtype, T, B, H)


@pytest.mark.parametrize("cell", ["gru_before", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_other_cells_are_as_accurate_as_the_reference(name, cell):
    options = options_of(cell, name)
    if (cell == "gru_before" and "layer_norm" in options) or (cell != "gru_before" and "recurrent_dropout" in options):
        pytest.skip(f"{cell} does not have {name}")
    compared(cell, name, torch.float32, *SIZES[1])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_zoneout_in_evaluation_is_as_accurate_as_the_reference(cell):
    compared(cell, "zoneout", torch.float32, *SIZES[1], training=False)


@pytest.mark.parametrize("name", ["resets", "layer norm", "all, layer norm"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_repeats_have_the_same_bits(cell, name):
    T, B, H = SIZES[2]
    net = module(cell, 24, H, torch.bfloat16, "triton", **options_of(cell, name))
    x, up = (torch.randn(T, B, n, device=DEVICE, dtype=torch.bfloat16) for n in (24, H))
    given = {"resets": torch.rand(T, B, device=DEVICE) > KEPT} if name in WITH_RESETS else {}

    def run():
        torch.manual_seed(SEED)
        return results(net, x, up, **given)

    first = run()
    for _ in range(10):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))
