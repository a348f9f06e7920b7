"""Reading the training text: files, zips, the default and the published lyrics, and what is wrong with each."""

import zipfile
from pathlib import Path

import pytest

from examples.common.errors import UserError
from examples.lm import corpus as corpus_module
from examples.lm import published
from examples.lm.corpus import load_corpus
from examples.lm.vocabulary import Vocabulary

SONG = "分开 不分开\r\n想要有直升机\n"


def zip_of(path: Path, *contents: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("songs/", b"")
        for number, content in enumerate(contents):
            archive.writestr(f"songs/{number}.txt", content)
    return path


def damaged_zip(path: Path) -> Path:
    zip_of(path, SONG.encode() * 50)
    content = bytearray(path.read_bytes())
    middle = content.index(b"songs/0.txt") + len(b"songs/0.txt") + 9
    content[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(content)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".txt", ".zip", ".bin"])
def test_text_and_zip_give_the_same_corpus(tmp_path, suffix):
    path = tmp_path / f"songs{suffix}"
    written(path, SONG.encode()) if suffix == ".txt" else zip_of(path, SONG.encode())
    loaded = load_corpus(str(path), 10_000)
    assert loaded.text == "分开 不分开  想要有直升机 "
    assert loaded.vocabulary.decode(loaded.ids.tolist()) == loaded.text


def test_only_the_first_characters_are_read(tmp_path):
    loaded = load_corpus(str(written(tmp_path / "a.txt", ("ab\n" * 9).encode())), 5)
    assert loaded.text == "ab ab"
    assert loaded.ids.tolist() == [1, 2, 0, 1, 2]


def test_a_byte_order_mark_is_no_character(tmp_path):
    assert load_corpus(str(written(tmp_path / "a.txt", b"\xef\xbb\xbfab")), 9).vocabulary.characters == "ab"


def test_the_fingerprint_tells_texts_apart(tmp_path):
    path = written(tmp_path / "a.txt", SONG.encode())
    assert load_corpus(str(path), 5).sha256 == load_corpus(str(path), 5).sha256 != load_corpus(str(path), 6).sha256


def test_the_vocabulary_is_sorted_so_numbers_do_not_depend_on_the_order_of_the_text():
    assert Vocabulary("cabbage").characters == "abceg"
    assert Vocabulary("想要有").characters == "".join(sorted("想要有"))
    assert Vocabulary("cab").encode("abc").tolist() == [0, 1, 2]


def test_characters_outside_the_vocabulary_are_named_once_each():
    vocabulary = Vocabulary("abc")
    assert vocabulary.missing("xaxyb") == "xy"
    with pytest.raises(UserError, match=r"expected characters of the training text's vocabulary \(3\), got 'xy'"):
        vocabulary.encode("xaxyb")


BAD = {
    "missing": (lambda d: d / "none.txt", r"expected a readable corpus file, got .*none.txt: No such file"),
    "folder": (lambda d: d, r"expected a readable corpus file, got .*: Is a directory"),
    "empty": (lambda d: written(d / "e.txt", b""), r"expected a corpus with text in it, got .*e.txt"),
    "blank": (lambda d: written(d / "b.txt", b" \n\n"), r"expected a corpus with text in it, got .*b.txt"),
    "gbk": (lambda d: written(d / "g.txt", SONG.encode("gbk")), r"expected a corpus in UTF-8, got byte 0xb7 at 0"),
    "cut": (lambda d: written(d / "c.txt", SONG.encode()[:4]), r"expected a corpus in UTF-8, got byte 0xe5 at 3"),
    "missing zip": (lambda d: d / "none.zip", r"expected a readable corpus file, got .*none.zip: No such file"),
    "text named zip": (lambda d: written(d / "t.zip", b"songs"), r"expected a sound zip file, got .*t.zip"),
    "cut zip": (
        lambda d: written(d / "c.zip", zip_of(d / "w.zip", b"songs").read_bytes()[:40]),
        r"expected a sound zip file, got .*c.zip",
    ),
    "damaged zip": (lambda d: damaged_zip(d / "d.zip"), r"expected a sound zip file, got .*d.zip"),
    "empty zip": (lambda d: zip_of(d / "n.zip"), r"expected one text file in the zip, got 0"),
    "two in a zip": (lambda d: zip_of(d / "2.zip", b"a", b"b"), r"expected one text file in the zip, got 2"),
    "gbk in a zip": (lambda d: zip_of(d / "g.zip", SONG.encode("gbk")), r"expected a corpus in UTF-8, got byte 0xb7"),
    "empty in a zip": (lambda d: zip_of(d / "e.zip", b""), r"expected a corpus with text in it, got .*e.zip"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_a_bad_corpus_is_an_error_that_says_what_is_wrong(tmp_path, make, message):
    with pytest.raises(UserError, match=message) as caught:
        load_corpus(str(make(tmp_path)), 10_000)
    assert "\n" not in str(caught.value)


def test_the_default_corpus_is_long_enough_and_has_the_prefixes():
    loaded = load_corpus("default", 10**9)
    assert len(loaded.text) >= 10_000
    assert "不分开" in loaded.text
    assert "分开" in loaded.text.replace("不分开", "")
    first = load_corpus("default", 10_000)
    assert not first.vocabulary.missing("不分开")


def test_the_published_corpus_is_fetched_by_its_hash(tmp_path, monkeypatch):
    asked = {}

    def retrieve(url, known_hash, **options):
        asked.update(url=url, known_hash=known_hash)
        return str(zip_of(tmp_path / "published.zip", SONG.encode()))

    monkeypatch.setattr(published.pooch, "retrieve", retrieve)
    assert load_corpus("published", 2).text == "分开"
    assert asked["known_hash"] == f"sha256:{published.SHA256}"
    assert asked["url"].startswith("https://github.com/d2l-ai/d2l-zh/")


@pytest.mark.parametrize(
    "failure", [OSError("no route\nto host"), ValueError("SHA256 hash differs")], ids=["net", "hash"]
)
def test_without_the_published_corpus_the_error_is_one_line(monkeypatch, failure):
    def retrieve(*arguments, **options):
        raise failure

    monkeypatch.setattr(published.pooch, "retrieve", retrieve)
    with pytest.raises(UserError, match=r"expected to download the published corpus from https.*, got: ") as caught:
        corpus_module.load_corpus("published", 10)
    assert "\n" not in str(caught.value)
