"""BeatNet: beats and downbeats in music; a convolution, then two layers of LSTM."""

from io import BytesIO
from types import ModuleType
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from tests.published.model import Published
from tests.published.signals import RATE, mel_spectrum, speech
from tests.published.wheels import Wheel

FRAME = RATE // 50  # samples


class FromRest(nn.Module):
    """The package's network, which keeps its states from call to call; here every call begins with zeros."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrum: Tensor) -> Tensor:
        """Scores of `spectrum`, (N, frames, 272), for beat, downbeat and neither: (N, 3, frames)."""
        self.network.hidden = spectrum.new_zeros(2, len(spectrum), 150)
        self.network.cell = spectrum.new_zeros(2, len(spectrum), 150)
        return self.network(spectrum)


def build(archive: ZipFile) -> nn.Module:
    """Run the file with the package's own class: it needs torch and numpy only, the rest of the package much more."""
    module = ModuleType("BeatNet.model")
    exec(compile(archive.read("BeatNet/model.py"), "BeatNet/model.py", "exec"), module.__dict__)
    network = module.BDA(272, 150, 2, torch.device("cpu"))
    weights = torch.load(
        BytesIO(archive.read("BeatNet/models/model_1_weights.pt")), map_location="cpu", weights_only=True
    )
    network.load_state_dict(weights, strict=True)
    return FromRest(network).eval()


def inputs(batch: int, frames: int) -> Tensor:
    """Logarithms of 136 bands, and by how much they rose since the frame before."""
    bands = mel_spectrum(speech(batch, frames * FRAME), 136, window=RATE // 16, hop=FRAME).add(1).log10()
    return torch.cat([bands[:, 1:], bands.diff(dim=1).clamp(min=0)], 2)


BEATNET = Published(
    Wheel(
        "beatnet",
        "1.1.3",
        "BeatNet-1.1.3-py3-none-any.whl",
        "1ecfa17bdcbe899975a88bdb6efebd6970d846a4f3b6cfd5c6f320647c641c7e",
    ),
    what="beat tracking",
    build=build,
    inputs=inputs,
    sizes=((1, 50), (3, 120)),
    recurrent={"network.lstm": "LSTM -> FusedLSTM"},
)
