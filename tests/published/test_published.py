"""The models of the published wheels: only where FUSEDRNN_WHEELS names a folder for the wheels, which pip then fills."""

import math
import os
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from fusedrnn import replace_rnns
from tests.published.check import check, infer
from tests.published.g2p import SOUNDS, spell
from tests.published.kraken import inputs as pages
from tests.published.medaka import pileup
from tests.published.models import MODELS
from tests.published.signals import RATE, speech
from tests.published.silero import script
from tests.published.wheels import fetch

FOLDER = os.environ.get("FUSEDRNN_WHEELS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER, reason="FUSEDRNN_WHEELS names no folder to download wheels into"),
]


@pytest.fixture
def published():
    """Opens the wheel of a package."""
    opened = []

    def wheel(package):
        opened.append(ZipFile(fetch(MODELS[package].wheel, Path(FOLDER))))
        return opened[-1]

    yield wheel
    for archive in opened:
        archive.close()


@pytest.fixture
def trained(published):
    """Makes the network of a package."""
    return lambda package: MODELS[package].build(published(package))


@pytest.mark.parametrize("package", MODELS)
def test_a_published_model_is_the_same_with_ours_and_restored(package, published):
    for needed in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(needed)
    assert check(MODELS[package], published(package)).failures == []


def test_silero_is_the_script_in_its_wheel(published, trained):
    wave = speech(3, 8 * 512)
    original = script(published("silero-vad"))
    want = torch.cat([infer(lambda chunk: original(chunk, 16_000), chunk) for chunk in wave.split(512, 1)], 1)
    torch.testing.assert_close(infer(trained("silero-vad"), wave), want, rtol=0, atol=1e-6)


def test_silero_s_script_itself_is_left_alone(published):
    report = replace_rnns(script(published("silero-vad")))
    assert report.changed == {}
    assert report.left == dict.fromkeys(
        ("_model.decoder.rnn", "_model_8k.decoder.rnn"), "LSTMCell is compiled by torch.jit"
    )


def test_g2p_pronounces_a_word_as_its_documentation_does(trained):
    written = infer(trained("g2p-en"), spell("activationist"))[0].argmax(1)
    sounds = " ".join(SOUNDS[k] for k in written)
    assert sounds.partition(" </s>")[0] == "AE2 K T IH0 V EY1 SH AH0 N IH0 S T"


def test_medaka_finds_the_bases_that_most_reads_agree_on(trained):
    bases = torch.randint(1, 5, (3, 200))
    assert (infer(trained("medaka-cpu"), pileup(bases)).argmax(-1) == bases).float().mean() > 0.99


def test_kraken_finds_the_lines_and_not_what_is_between(trained):
    rows = infer(trained("kraken"), pages(1, 5))[0, 2].mean(1)[:30].view(5, 6)  # six for each line
    assert (rows[:, 3:].amax(1) > 3 * rows[:, 1:3].amax(1)).all()


@pytest.mark.parametrize(("package", "shape"), [("silero-vad", (4, -1)), ("whisperx", (4, 1, -1))])
def test_speech_is_told_from_noise(package, shape, trained):
    network = trained(package)
    speaks, hisses = speech(4, 62 * 512), 0.005 * torch.randn(4, 62 * 512)
    assert infer(network, speaks.view(shape)).mean() > 3 * infer(network, hisses.view(shape)).mean()


def test_whisperx_filters_are_pairs_whose_power_does_not_follow_the_phase_of_a_tone(trained):
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(4000, dtype=torch.float64) / RATE).view(1, 1, -1)
    cosines, sines = infer(trained("whisperx").double().sincnet.conv1d[0]["filterbank"], tone).chunk(2, 1)
    power = (cosines.square() + sines.square()).squeeze(0)
    strongest = power[power.mean(1).argmax()]
    assert strongest.std() < 0.01 * strongest.mean()
