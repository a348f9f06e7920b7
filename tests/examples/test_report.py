"""The list of the experiments, their help, and the page that is made of all of them."""

import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from examples import report
from examples.common import catalogue
from examples.common.errors import UserError
from examples.common.figures import new_figure
from examples.common.outcome import Data, Experiment
from examples.common.parser import experiment_parser

STUB = '''"""{name}: a stub.

More.
"""
import json, pathlib, sys
print("runs with", sys.argv[3:])
assert sys.argv[1] == "--out"
out = pathlib.Path(sys.argv[2]); out.mkdir(parents=True, exist_ok=True)
record = {record}
(out / "metrics.json").write_text(json.dumps(record))
sys.exit({code})
'''
RECORD = {
    "settings": {"seed": 3, "out": "x", "quick": True},
    "versions": {"torch": "9"},
    "data": "made-up cats",
    "data_is_fallback": True,
    "seconds": 1.2,
    "table": [{"way": "||w||", "error": 0.123456}, {"way": "b", "error": None}],
    "figures": ["a.png", "b.png"],
    "conclusion": "Cats are small.",
}


def test_the_catalogue_has_every_script_and_its_first_line():
    found = catalogue.experiments()
    assert {"dropout_mlp", "environment_shift", "house_prices", "lyrics", "polynomial", "weight_decay"} <= set(found)
    assert not {"__init__", "__main__", "report", "common"} & set(found)
    assert list(found) == sorted(found)
    assert found["polynomial"] == "Polynomial fit: a good fit, overfitting, underfitting, and choosing the degree."


def test_python_m_examples_lists_them(capsys):
    runpy.run_module("examples", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    for name, description in catalogue.experiments().items():
        assert [line.split(maxsplit=1) for line in lines].count([name, description]) == 1


@pytest.mark.parametrize("name", catalogue.experiments())
def test_every_experiment_explains_itself(name, capsys):
    description = catalogue.experiments()[name]
    assert 20 < len(description) <= 132
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"examples.{name}").main(["--help"])
    text = capsys.readouterr().out
    for option in ("--seed", "--out"):
        assert option in text, option


def test_a_script_runs_as_a_file_from_anywhere_and_its_exit_code_is_main_s(tmp_path):
    command = [sys.executable, catalogue.FOLDER / "weight_decay.py", "--seed", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr == "weight_decay.py: error: argument --seed: expected a whole number from 0 to 2**63 - 1, got 'x'\n"
    )


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of experiments: one that goes well, one that fails, one that leaves too little."""
    scripts = tmp_path / "examples"
    scripts.mkdir()
    for name, record, code in (("good", RECORD, 0), ("late", RECORD, 2), ("bare", {"data": "x"}, 0)):
        (scripts / f"{name}.py").write_text(STUB.format(name=name.title(), record=record, code=code), encoding="utf-8")
    monkeypatch.setattr(catalogue, "FOLDER", scripts)
    monkeypatch.setattr(report, "FOLDER", scripts)
    return tmp_path


def test_the_page_has_data_conclusion_table_and_figures(folder, capfd):
    out = folder / "out"
    assert report.main(["good", "--quick", "--out", str(out)]) == 0
    assert "runs with ['--quick']" in capfd.readouterr().out
    page = (out / "report.md").read_text(encoding="utf-8")
    for line in (
        "1 experiments, --quick, ",
        "## good\n\nGood: a stub.\n",
        "Data: **FALLBACK DATA: made-up cats**",
        "Cats are small.",
        "| way | error |\n| --- | --- |\n| \\|\\|w\\|\\| | 0.1235 |\n| b | - |\n",
        "![good: a.png](good/a.png)\n\n![good: b.png](good/b.png)",
        "`seed=3 quick=True`, 1 s, `torch=9`",
    ):
        assert line in page


def test_what_fails_is_named_and_the_rest_goes_on(folder, capfd):
    out = folder / "out"
    assert report.main(["--out", str(out)]) == 1
    printed = capfd.readouterr().out
    assert "failed: bare, late" in printed
    assert "runs with []" in printed
    page = (out / "report.md").read_text(encoding="utf-8")
    assert "**It failed with exit code 2.**" in page
    assert "**Its metrics.json lacks settings, versions, data_is_fallback" in page
    assert "Cats are small." in page


def test_ctrl_c_in_an_experiment_stops_everything(folder):
    (folder / "examples" / "good.py").write_text("import sys; sys.exit(130)", encoding="utf-8")
    assert report.main(["good", "--out", str(folder / "out")]) == 130
    assert not (folder / "out" / "report.md").exists()


def test_an_unknown_name_is_a_one_line_error(capsys):
    assert report.main(["poly"]) == 2
    assert "report.py: error: expected names of " in capsys.readouterr().err
    with pytest.raises(UserError, match=r"got poly$"):
        report.parse(["poly"])


def test_what_an_experiment_leaves_is_what_the_page_needs(tmp_path):
    options = experiment_parser("Why.", out="x", quick="less").parse_args(["--out", str(tmp_path)])
    figure = new_figure(1, 1)
    Experiment("x", options, Data("cats")).finish(
        results={}, table=[{"a": 1}], figures={"a.png": figure}, conclusion="Cats are small."
    )
    text, well = report.section("polynomial", tmp_path, 0)
    assert well
    assert "Data: cats\n\nCats are small.\n\n| a |\n| --- |\n| 1 |\n\n![polynomial: a.png](polynomial/a.png)" in text
