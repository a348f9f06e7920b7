"""silero-vad: the probability of speech in each chunk of 32 ms; convolutions, then an LSTM cell that runs over the chunks."""

import json
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from tests.published.model import Published
from tests.published.signals import speech
from tests.published.wheels import Wheel

CHUNK, CONTEXT = 512, 64  # samples


class SpeechActivity(nn.Module):
    """The layers whose weights the wheel has as safetensors. The package runs them by torch.jit, onnxruntime or tinygrad."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, wave: Tensor) -> Tensor:
        """Speech in `wave`, (N, chunks * 512) at 16 kHz: (N, chunks)."""
        padded = nn.functional.pad(wave, (CONTEXT, 0))
        state, found = None, []
        for start in range(0, wave.shape[1], CHUNK):
            chunk = nn.functional.pad(padded[:, start : start + CONTEXT + CHUNK], (0, 64), mode="reflect")
            real, imaginary = self.stft_conv(chunk.unsqueeze(1)).split(129, 1)
            x = (real.square() + imaginary.square()).sqrt()
            for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = conv(x).relu()
            state = self.lstm_cell(
                x.view(-1, 128), state
            )  # a size that the exporter of TorchScript knows; squeeze's it does not
            found.append(self.final_conv(state[0].relu().unsqueeze(-1)).sigmoid().flatten(1))
        return torch.cat(found, 1)


def build(archive: ZipFile) -> nn.Module:
    network = SpeechActivity()
    network.load_state_dict(read_safetensors(archive.read("silero_vad/data/silero_vad_16k.safetensors")), strict=True)
    return network.eval()


def read_safetensors(data: bytes) -> dict[str, Tensor]:
    """The float32 tensors of a safetensors file: eight bytes of a length, that much JSON, then the numbers."""
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"expected {name} as F32, got {entry['dtype']}")
        first, last = entry["data_offsets"]
        numbers = torch.frombuffer(bytearray(data[begin + first : begin + last]), dtype=torch.float32)
        tensors[name] = numbers.view(entry["shape"])
    return tensors


SILERO = Published(
    Wheel(
        "silero-vad",
        "6.2.3",
        "silero_vad-6.2.3-py3-none-any.whl",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    ),
    what="speech activity",
    build=build,
    inputs=lambda batch, chunks: speech(batch, chunks * CHUNK),
    sizes=((1, 5), (3, 8)),
    recurrent={"lstm_cell": "LSTMCell -> FusedLSTMCell"},
)
