"""The list of the experiments, their help, and the page that is made of all of them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from example_runs import drawn_with

from examples import report
from examples.__main__ import main as examples
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


def test_the_data_parallel_script_is_listed_and_is_no_experiment():
    assert set(catalogue.scripts()) - set(catalogue.experiments()) == {"ddp"}


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["nothing", "help"])
def test_python_m_examples_lists_them(arguments, capsys):
    assert examples(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, description in catalogue.scripts().items():
        assert [line.split(maxsplit=1) for line in lines].count([name, description]) == 1


def test_python_m_examples_name_runs_it_with_its_options_and_exit_code(monkeypatch):
    given = []
    monkeypatch.setattr("examples.polynomial.main", lambda options: given.append(options) or 3)
    assert examples(["polynomial", "--quick", "--seed", "5"]) == 3
    assert given == [["--quick", "--seed", "5"]]


def test_python_m_examples_with_another_name_is_a_one_line_error(capsys):
    assert examples(["poly"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("examples: error: expected one of bidirectional, cells, ddp, ")
    assert error.endswith(", got poly\n")


@pytest.mark.parametrize("name", catalogue.scripts())
def test_every_script_explains_itself(name, capsys):
    description = catalogue.scripts()[name]
    assert 20 < len(description) <= 132
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"examples.{name}").main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {name}.py ")
    assert "(default: False)" not in text
    assert "(default: None)" not in text
    for option in ("--seed", "--save" if name == "ddp" else "--out"):
        assert option in text, option


@pytest.mark.parametrize("name", [*catalogue.scripts(), "report", "figures"])
def test_help_takes_a_tenth_of_a_second_as_it_imports_nothing_that_takes_longer(name):
    heavy = "torch", "fusedrnn", "numpy", "matplotlib", "pandas", "sklearn", "scipy", "tqdm"
    code = (
        f"import runpy, sys; sys.argv = ['{name}', '--help']\n"
        f"try: runpy.run_module('examples.{name}', run_name='__main__')\n"
        f"finally: print('imported:', [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=catalogue.FOLDER.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("imported: []\n")


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
    with drawn_with(lambda record: {"a.png": new_figure(record, "Cats")}):
        experiment = Experiment("x", options, Data("cats"))
    experiment.finish(results={}, table=[{"a": 1}], conclusion="Cats are small.")
    text, well = report.section("polynomial", tmp_path, 0)
    assert well
    assert "Data: cats\n\nCats are small.\n\n| a |\n| --- |\n| 1 |\n\n![polynomial: a.png](polynomial/a.png)" in text
