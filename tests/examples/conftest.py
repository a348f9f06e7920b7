"""A text that the lyrics program learns by heart within seconds."""

import random

import pytest


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> str:
    """A file with a random verse of 40 characters, ten times."""
    draw = random.Random(0)
    verse = "".join(draw.choice("春夏秋冬风花雪月山水云天") for _ in range(37)) + "不分开"
    path = tmp_path_factory.mktemp("corpus") / "song.txt"
    path.write_text(verse * 10, encoding="utf-8")
    return str(path)
