"""What the experiments share: exit codes, one-line errors, loud fallbacks, whole files, legible figures."""

import json
from pathlib import Path

import pytest
import torch

from examples.common import fonts
from examples.common.errors import UserError
from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.parser import experiment_parser
from examples.common.program import program
from examples.common.progress import progress
from examples.common.tables import format_table


def parser(**more):
    return experiment_parser("Why.\n\n    python x.py\n", out="x", quick="one epoch", **more)


def failing(error):
    @program("x.py")
    def main(arguments=None):
        raise error

    return main


def test_a_program_returns_0_2_or_130_and_a_user_s_error_is_one_line(capsys):
    assert program("x.py")(lambda arguments: None)([]) == 0
    assert program("x.py")(lambda arguments: 3)([]) == 3
    assert failing(UserError("expected a, got b"))([]) == 2
    assert capsys.readouterr().err == "x.py: error: expected a, got b\n"
    assert failing(KeyboardInterrupt())([]) == 130
    assert capsys.readouterr().err == "x.py: stopped\n"
    with pytest.raises(ZeroDivisionError):  # a bug of ours is not dressed up as the user's
        failing(ZeroDivisionError())([])


def test_every_experiment_has_the_same_options_and_a_device_where_it_applies():
    assert vars(parser().parse_args([])) == {"backend": "auto", "seed": 0, "out": Path("out/x"), "quick": False}
    options = parser(device=True).parse_args(["--backend", "reference"])
    assert (options.backend, options.device) == ("reference", "auto")
    assert "nothing here is recurrent" in " ".join(parser(fused=False).format_help().split())
    with pytest.raises(UserError, match=r"unrecognized arguments: --device cpu"):
        parser().parse_args(["--device", "cpu"])
    with pytest.raises(UserError, match=r"argument --backend: invalid choice: 'cudnn'"):
        parser().parse_args(["--backend", "cudnn"])
    with pytest.raises(UserError, match=r"argument --seed: expected a whole number from 0 to 2\*\*63 - 1, got '-1'"):
        parser().parse_args(["--seed", "-1"])


def test_quick_changes_what_the_command_line_leaves_open():
    made = parser(small={"epochs": 3, "hidden": 4})
    made.add_argument("--epochs", type=int, default=100)
    made.add_argument("--hidden", type=int, default=256)
    for arguments, expected in (([], (100, 256)), (["--quick"], (3, 4)), (["--quick", "--hidden", "9"], (3, 9))):
        options = made.parse_args(arguments)
        assert (options.epochs, options.hidden) == expected


def test_help_explains_the_experiment_and_its_defaults():
    text = parser().format_help()
    assert "Why.\n\n    python x.py\n" in text
    assert "one epoch" in " ".join(text.split())
    assert "(default: 0)" in text


def finish(out, is_fallback=False, **more):
    figure = new_figure()
    figure.subplots().plot([1, 2])
    experiment = Experiment("x", parser().parse_args(["--out", str(out)]), Data("a made-up table", is_fallback))
    table = [{"case": "normal", "error": 0.123456, "epochs": 7}, {"case": "odd", "error": None, "epochs": 12}]
    experiment.finish(table=table, figures={"x.png": figure}, conclusion="It works.", **more)
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def test_metrics_tell_settings_versions_data_and_results(tmp_path, capsys):
    metrics = finish(tmp_path / "deep" / "out", results={"a": torch.ones(2), "b": float("nan"), "c": (1, Path("p"))})
    assert metrics["results"] == {"a": [1.0, 1.0], "b": "nan", "c": [1, "p"]}  # nan is no JSON
    assert metrics["settings"] == {"backend": "auto", "seed": 0, "out": str(tmp_path / "deep" / "out"), "quick": False}
    assert metrics["versions"]["torch"] == torch.__version__
    assert metrics["data_is_fallback"] is False
    assert metrics["figures"] == ["x.png"]
    assert (tmp_path / "deep" / "out" / "x.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "deep" / "out").iterdir()} == {"x.png", "metrics.json"}
    out = capsys.readouterr().out
    assert "data: a made-up table\n" in out
    assert "FALLBACK" not in out
    assert "case     error  epochs\nnormal  0.1235       7\nodd          -      12\n\nIt works.\n" in out


def test_a_fallback_is_loud_in_the_output_and_in_the_metrics(tmp_path, capsys):
    assert finish(tmp_path, is_fallback=True, results={})["data_is_fallback"] is True
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["!" * 100, "FALLBACK DATA, not the published experiment: a made-up table", "!" * 100]
    assert "(These numbers come from FALLBACK data.)" in lines


def test_an_output_folder_that_cannot_be_is_an_error_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"expected a writable output directory, got .*file: "):
        finish(tmp_path / "file", results={})


def test_a_table_without_rows_is_empty():
    assert format_table([]) == ""


def test_the_bar_hands_out_what_it_is_given():
    assert list(progress([3, 1, 2], "counting")) == [3, 1, 2]


def test_a_font_that_matplotlib_has_not_listed_yet_is_found(monkeypatch):
    manager = fonts.font_manager.fontManager
    listed = [entry for entry in manager.ttflist if entry.name == "DejaVu Sans"]
    monkeypatch.setattr(manager, "ttflist", [])
    monkeypatch.setattr(fonts, "CHINESE", ("DejaVu Sans",))  # stands for a Chinese font, which not every machine has
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [__file__, *(entry.fname for entry in listed)])
    assert fonts.families.__wrapped__() == ("DejaVu Sans", "DejaVu Sans")


def test_chinese_is_drawn_with_a_font_that_has_it_or_spelled_never_as_boxes(monkeypatch):
    monkeypatch.setattr(fonts, "families", lambda: ("DejaVu Sans",))
    fonts._characters.cache_clear()
    assert fonts.legible("after 不分开, ∑x² ≤ 1") == "after U+4E0D U+5206 U+5F00 , ∑x² ≤ 1"
    fonts._characters.cache_clear()
    monkeypatch.undo()
    figure = new_figure(2, 2)
    figure.subplots().set_title(fonts.legible("不分开"))
    figure.draw_without_rendering()  # a character without a glyph is a warning, and a warning fails the test
