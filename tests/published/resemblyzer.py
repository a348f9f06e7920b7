"""Resemblyzer: a voice as 256 numbers, from a mel spectrum; three layers of LSTM."""

from io import BytesIO
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from tests.published.model import Published
from tests.published.signals import RATE, mel_spectrum, speech
from tests.published.wheels import Wheel

FRAME = RATE // 100  # samples


class VoiceEncoder(nn.Module):
    """The layers of the package's class of that name, which is not imported: it needs librosa and webrtcvad."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mel: Tensor) -> Tensor:
        """Voices of `mel`, (N, frames, 40): (N, 256), each of length 1."""
        last = self.lstm(mel)[1][0][-1]
        voice = self.linear(last).relu()
        return voice / voice.norm(dim=1, keepdim=True)


def build(archive: ZipFile) -> nn.Module:
    checkpoint = torch.load(BytesIO(archive.read("resemblyzer/pretrained.pt")), map_location="cpu", weights_only=True)
    weights = checkpoint["model_state"]
    for trained_with in ("similarity_weight", "similarity_bias"):  # of the loss
        del weights[trained_with]
    network = VoiceEncoder()
    network.load_state_dict(weights, strict=True)
    return network.eval()


def inputs(batch: int, frames: int) -> Tensor:
    return mel_spectrum(speech(batch, (frames - 1) * FRAME), 40, window=RATE // 40, hop=FRAME)


RESEMBLYZER = Published(
    Wheel(
        "resemblyzer",
        "0.1.4",
        "Resemblyzer-0.1.4-py3-none-any.whl",
        "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
    ),
    what="speaker embedding",
    build=build,
    inputs=inputs,
    sizes=((1, 60), (3, 160)),
    recurrent={"lstm": "LSTM -> FusedLSTM"},
)
