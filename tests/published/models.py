"""The models that the command checks."""

from tests.published.beatnet import BEATNET
from tests.published.g2p import G2P
from tests.published.kraken import KRAKEN
from tests.published.medaka import MEDAKA
from tests.published.resemblyzer import RESEMBLYZER
from tests.published.silero import SILERO
from tests.published.whisperx import WHISPERX

MODELS = {model.wheel.package: model for model in (BEATNET, G2P, KRAKEN, MEDAKA, RESEMBLYZER, SILERO, WHISPERX)}
"""By the name of the package."""
