"""What the experiments share: exit codes, one-line errors, loud fallbacks, whole files, legible figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from example_runs import drawn_with

from examples.common.catalogue import FOLDER
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


@pytest.mark.parametrize("package", ["matplotlib", "pandas", "pooch", "sklearn.linear_model", "scipy.stats", "tqdm"])
def test_a_package_of_the_extra_that_is_not_installed_is_one_line_with_the_pip_command(package, capsys):
    name = package.partition(".")[0]
    assert failing(ModuleNotFoundError(f"No module named {package!r}", name=package))([]) == 2
    expected = f"x.py: error: expected the package {name}, got none: python -m pip install '.[examples]' installs it\n"
    assert capsys.readouterr().err == expected
    with pytest.raises(ModuleNotFoundError):  # a file of ours that is missing is a bug
        failing(ModuleNotFoundError("No module named 'examples.x'", name="examples.x"))([])


@pytest.mark.parametrize(
    ("name", "package"),
    [("weight_decay", "matplotlib"), ("lyrics", "matplotlib"), ("house_prices", "pandas"), ("cells", "tqdm")],
)
def test_without_a_package_an_experiment_ends_before_any_work(name, package, tmp_path):
    code = (
        f"import sys; sys.modules[{package!r}] = None; from examples.{name} import main; "
        f"sys.exit(main(['--out', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{name}.py: error: expected the package {package}, got none: python -m pip install '.[examples]' installs it\n"
    )


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
    assert "(default: False)" not in text
    assert "(default: None)" not in text


def draw(record):
    return {"x.png": new_figure(record, "It works.")}


def finish(out, is_fallback=False, **more):
    with drawn_with(draw):
        experiment = Experiment("x", parser().parse_args(["--out", str(out)]), Data("a made-up table", is_fallback))
    table = [{"case": "normal", "error": 0.123456, "epochs": 7}, {"case": "odd", "error": None, "epochs": 12}]
    experiment.finish(table=table, conclusion="It works.", **more)
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


def test_a_list_is_one_line_of_the_metrics(tmp_path):
    metrics = finish(tmp_path, results={"curve": [0.5, 0.25], "by way": {"one": {"loss": [1, 2]}, "none": {}}})
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert '\n    "curve": [0.5, 0.25],\n    "by way": {\n      "one": {\n        "loss": [1, 2]\n      },\n' in text
    assert metrics["results"]["by way"] == {"one": {"loss": [1, 2]}, "none": {}}


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
