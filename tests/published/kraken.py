"""kraken: where the lines of text run on a page; convolutions, then LSTMs along rows and along columns."""

from collections import OrderedDict
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from tests.published.coreml import read_coreml
from tests.published.model import Published
from tests.published.wheels import Wheel


class Across(nn.Module):
    """A bidirectional LSTM along the rows of an image, or along its columns."""

    def __init__(self, channels: int, columns: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, 32, bidirectional=True, batch_first=True)
        self.columns = columns

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, height, width) to (N, 64, height, width)."""
        lines = image.permute(0, 3, 2, 1) if self.columns else image.permute(0, 2, 3, 1)
        run = self.lstm(lines.flatten(0, 1))[0].unflatten(0, lines.shape[:2])
        return run.permute(0, 3, 2, 1) if self.columns else run.permute(0, 3, 1, 2)


def convolution(channels: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, size, stride=stride, padding=size // 2)


def layers() -> nn.Sequential:
    """The layers that the file describes, under its names. The package itself is not imported: it needs coremltools.

    They map a page, (N, 3, height, width), to probabilities of beginning, end, baseline and region: (N, 4, height / 4, width / 4).
    """
    named = OrderedDict()
    sizes = [(3, 64, 7, 2), (64, 128, 3, 2), (128, 128, 3), (128, 256, 3), (256, 256, 3)]
    for k, size in enumerate(sizes):
        named[f"C_{2 * k}"] = convolution(*size)
        named[f"relu_{k}"] = nn.ReLU()
        named[f"Gn_{2 * k + 1}"] = nn.GroupNorm(32, size[1])
    named["L_10"], named["L_11"] = Across(256, columns=False), Across(64, columns=True)
    named["C_12"], named["relu_12"], named["Gn_13"] = convolution(64, 32, 1), nn.ReLU(), nn.GroupNorm(32, 32)
    named["L_14"], named["L_15"] = Across(32, columns=True), Across(64, columns=False)
    named["l_16"], named["sigmoid"] = convolution(64, 4, 1), nn.Sigmoid()
    return nn.Sequential(named)


def build(archive: ZipFile) -> nn.Module:
    network = layers()
    weights = read_coreml(archive.read("kraken/blla.mlmodel"))
    shapes = {name: parameter.shape for name, parameter in network.state_dict().items()}
    network.load_state_dict({name: flat.view(shapes.get(name, -1)) for name, flat in weights.items()}, strict=True)
    return network.eval()


def inputs(batch: int, lines: int) -> Tensor:
    """Pages of 160 columns, grey paper, with dark words in `lines` lines."""
    page = 0.9 + 0.03 * torch.randn(batch, 1, 24 * lines + 16, 160)
    for line in range(lines):
        ink = (torch.rand(batch, 1, 8, 128) < 0.5) & (torch.rand(batch, 1, 1, 16) < 0.8).repeat_interleave(8, 3)
        page[:, :, 24 * line + 16 : 24 * line + 24, 16:144] -= 0.8 * ink
    return page.clamp(0, 1).expand(-1, 3, -1, -1).contiguous()


KRAKEN = Published(
    Wheel(
        "kraken",
        "7.1.1",
        "kraken-7.1.1-py3-none-any.whl",
        "82faba07d9fa4746cb822c669e822570f8a8c42a9ac1570ad187326cedbd48e4",
    ),
    what="page segmentation",
    build=build,
    inputs=inputs,
    sizes=((1, 3), (2, 5)),
    recurrent={f"L_{k}.lstm": "LSTM -> FusedLSTM" for k in (10, 11, 14, 15)},
)
