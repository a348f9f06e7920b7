"""The figures: drawn from the records alone, in one style, and those of the documentation from the records in examples/results."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_hex
from PIL import Image

from examples.common import figures as style
from examples.common.catalogue import FOLDER, experiments
from examples.common.fonts import families
from examples.figures import drawing
from examples.figures.__main__ import main, records, rounded

RESULTS, PICTURES = FOLDER / "results", FOLDER.parent / "docs" / "figures"
PALETTE = {
    value.lower()
    for name, value in vars(style).items()
    if name.isupper() and isinstance(value, str) and value.startswith("#")
}


@pytest.fixture(scope="module", params=experiments())
def record(request) -> dict:
    return json.loads((RESULTS / f"{request.param}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn(record) -> dict:
    figures = drawing(record["experiment"])(record)
    for figure in figures.values():
        figure.draw_without_rendering()  # a character without a glyph is a warning, and a warning fails the test
    return figures


def test_the_documentation_has_the_pictures_of_each_record_and_no_others():
    files = {f"{record['experiment']}-{file}" for record in records(RESULTS) for file in record["figures"]}
    kept = {path.name for path in PICTURES.glob("*.png") if path.name.partition("-")[0] in experiments()}
    assert kept == files
    assert {path.stem for path in RESULTS.glob("*.json")} == set(experiments())


def test_a_record_is_small_and_has_what_the_figures_need(record, drawn):
    path = RESULTS / f"{record['experiment']}.json"
    assert path.stat().st_size < 100_000
    assert record == rounded(record)
    assert "out" not in record["settings"]
    assert list(drawn) == record["figures"]


def test_a_picture_is_small_and_that_of_its_record(record, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / f"{record['experiment']}.json").write_text(json.dumps(record), encoding="utf-8")
    assert main([str(tmp_path / "results"), "--out", str(tmp_path / "pictures")]) == 0
    for file in record["figures"]:
        name = f"{record['experiment']}-{file}"
        with Image.open(PICTURES / name) as kept, Image.open(tmp_path / "pictures" / name) as new:
            assert kept.size == new.size
            assert kept.width <= 1000
            difference = np.abs(np.asarray(kept.convert("RGB"), float) - np.asarray(new.convert("RGB"), float)).mean()
        assert difference < 3  # of 255; other versions of matplotlib place text a little differently
        assert (PICTURES / name).stat().st_size < 80_000


def test_the_title_is_a_sentence_with_measured_numbers_and_the_corner_has_the_seed(record, drawn):
    for figure in drawn.values():
        title = figure.get_suptitle()
        assert len(title) > 60
        assert any(character.isdigit() for character in title)
        assert "nan" not in title
        corner = f"seed {record['settings']['seed']}" + ", quick" * record["settings"]["quick"]
        assert any(text.get_text().startswith(corner) for text in figure.texts)


def test_lines_and_bars_have_colours_of_the_palette(drawn):
    for figure in drawn.values():
        for axes in figure.axes:
            assert {to_hex(line.get_color()) for line in axes.lines} <= PALETTE
            assert {to_hex(patch.get_facecolor()) for patch in axes.patches} <= PALETTE


def test_bars_start_at_zero(drawn):
    for figure in drawn.values():
        for axes in figure.axes:
            if axes.patches:
                assert axes.get_ylim()[0] == 0


def test_no_legend_lies_on_the_data(drawn):
    for figure in drawn.values():
        for axes in figure.axes:
            if legend := axes.get_legend():
                box = legend.get_window_extent()
                for line in axes.lines:
                    x, y = axes.transData.transform(np.array(line.get_xydata(), float)).T
                    assert not ((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)).any()
                assert not any(box.overlaps(bar.get_window_extent()) for bar in axes.patches)


def test_nothing_is_written_outside_the_picture(drawn):
    for figure in drawn.values():
        for axes in figure.axes:
            for text in [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *figure.texts]:
                if text.get_text():
                    box = text.get_window_extent()
                    assert box.x0 > -1, text
                    assert box.x1 < figure.bbox.x1 + 1, text
                    assert box.y0 > -1, text


def test_titles_of_panels_do_not_touch(drawn):
    for figure in drawn.values():
        boxes = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title(loc="left")]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_chinese_text_is_drawn_with_the_font_of_the_examples():
    figure = style.new_figure({"settings": {"seed": 3, "quick": True}, "data_is_fallback": True}, "不分开：我们，龘")
    assert list(families()) == rcParams["font.family"] == ["DejaVu Sans", "Noto Sans SC Subset"]
    with pytest.warns(UserWarning, match="Glyph 40856"):  # not in GB 2312; the others are drawn
        figure.draw_without_rendering()
    lyrics = (FOLDER / "data" / "lyrics_zh.txt").read_text(encoding="utf-8")
    figure.suptitle("".join(sorted(set(lyrics) - {"\n"})))
    figure.draw_without_rendering()


def test_the_corner_says_what_restricts_the_result():
    record = {"settings": {"seed": 3, "quick": True}, "data_is_fallback": True}
    assert style.corner(record) == "seed 3, quick, not the published data"
    assert style.corner({"settings": {"seed": 0, "quick": False}, "data_is_fallback": False}) == "seed 0"


def test_labels_at_the_ends_keep_their_order_and_a_distance():
    figure = style.new_figure({"settings": {"seed": 0}, "data_is_fallback": False}, "x")
    axes = figure.subplots()
    axes.set_ylim(0, 10)
    ends = {"a": 9.9, "b": 10.2, "c": 5.0, "d": 9.8, "e": -3.0, "f": 0.1, "g\ng": 0.2}
    style.label_ends(axes, [(y, text, "k") for text, y in ends.items()], line=0.1)
    places = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert sorted(places, key=places.__getitem__) == ["e", "f", "g\ng", "c", "d", "a", "b"]
    assert list(places.values()) == pytest.approx([0.0, 0.1, 0.25, 0.5, 0.75, 0.85, 0.95])


def test_a_house_price_figure_says_whether_training_has_converged():
    record = json.loads((RESULTS / "house_prices.json").read_text(encoding="utf-8"))
    (figure,) = drawing("house_prices")(record).values()
    assert "is still falling: not converged" in " ".join(figure.get_suptitle().split())
    for fold in record["results"]["folds"]:
        fold["valid"][-11:] = [fold["valid"][-1]] * 11
    (figure,) = drawing("house_prices")(record).values()
    assert "has stopped falling" in " ".join(figure.get_suptitle().split())


def test_keeping_rounds_the_record_and_draws_the_rounded_one(tmp_path):
    (tmp_path / "run").mkdir()
    record = json.loads((RESULTS / "weight_decay.json").read_text(encoding="utf-8"))
    record["results"]["curves"]["scratch"]["0"]["train"][0] = 123.45678
    record["settings"]["out"] = "somewhere"
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(record), encoding="utf-8")
    keep = tmp_path / "keep"
    assert main([str(tmp_path), "--keep", str(keep), "--out", str(tmp_path / "pictures")]) == 0
    kept = json.loads((keep / "weight_decay.json").read_text(encoding="utf-8"))
    assert kept["results"]["curves"]["scratch"]["0"]["train"][0] == 123.46
    assert "out" not in kept["settings"]
    assert (tmp_path / "pictures" / "weight_decay-losses.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_again_needs_neither_torch_nor_the_package(tmp_path):
    code = (
        "import sys; from examples.figures.__main__ import main; "
        f"assert main([{str(RESULTS)!r}, '--out', {str(tmp_path)!r}]) == 0; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"expected a folder with metrics.json or NAME.json files, got .*\n"),
        ({"a.json": "{"}, r"expected results of an experiment, got .*a.json: Expecting property name"),
        ({"a.json": "[1]"}, r"expected results of an experiment, got .*a.json without the name of one"),
        ({"a.json": '{"experiment": "../x"}'}, r"expected results of an experiment, got .*a.json without the name"),
        ({"a.json": '{"experiment": "cells"}'}, r"expected 'results' among the results of cells, got those of another"),
    ],
    ids=["none", "broken", "no record", "no experiment", "old"],
)
def test_what_is_no_result_is_a_one_line_error(files, message, tmp_path, capsys):
    for name, text in files.items():
        Path(tmp_path, name).write_text(text, encoding="utf-8")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("examples.figures: error: expected ")
    assert error.count("\n") == 1
    assert re.search(message, error)
