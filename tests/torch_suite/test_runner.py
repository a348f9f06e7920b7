"""The runner of PyTorch's tests, on a folder with a few tests of our own."""

import pytest

from tests.torch_suite import __main__ as program
from tests.torch_suite.compare import compare
from tests.torch_suite.known import KNOWN, Known
from tests.torch_suite.running import FILES, CannotRunError, Outcome, files_in, run

TESTS = """
import pickle
import unittest
from functools import wraps
import beside
import torch
from torch import nn

def build(again=True):
    return build(False) if again else nn.LSTMCell(2, 3)

def decorated(test):
    @wraps(test)
    def run(self):
        test(self)
    return run

class Tests(unittest.TestCase):
    def helper(self):
        return nn.GRUCell(2, 3)

    def test_both_pass(self):
        output, h_n = nn.GRU(2, 3)(torch.ones(1, 1, 2))
        self.assertEqual(output.shape, (1, 1, 3))

    def test_helper_method(self):
        self.helper()

    def test_helper_function(self):
        pickle.loads(pickle.dumps(build))()

    @decorated
    @decorated
    def test_decorated(self):
        (lambda: nn.GRU(2, 3))()

    def test_by_string(self):
        getattr(nn, "LSTM")(2, 3)

    def test_in_lstm(self):
        self.assertEqual(nn.modules.rnn.LSTM.__module__, "torch.nn.modules.rnn", "module of LSTM")

    def test_transformer(self):
        self.assertEqual(type(nn.TransformerEncoderLayer(2, 1).dropout).__name__, "FusedDropout")

    def test_builds_only_torchs(self):
        if nn.GRU.__module__.startswith("torch"):
            nn.GRU(2, 3)

    def test_fails_with_both(self):
        with self.subTest("of GRU"):
            self.fail("always")

    @unittest.skip("never")
    def test_skipped_gru(self):
        pass

    @unittest.expectedFailure
    def test_expected_failure_of_gru(self):
        self.fail()

    def test_other(self):
        nn.Linear(2, 3)
"""
DIFFERENT = ["Tests::test_in_lstm", "Tests::test_transformer", "Tests::test_builds_only_torchs"]
LISTED = {
    "Tests::test_in_lstm": Known("module of LSTM", "ours are elsewhere"),
    "Tests::test_transformer": Known("'Dropout' != 'FusedDropout'", "the test wants ours"),
    "Tests::test_builds_only_torchs": Known("built GRU of torch's and nothing of ours", "the test asks"),
}


def folder_with(path, **files):
    (path / "nn").mkdir()
    for name in FILES:
        text = files.get(name.rpartition("/")[2].removesuffix(".py"))
        if text is not None:
            (path / name).write_text(text)
            (path / name).with_name("beside.py").touch()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folder_with(tmp_path_factory.mktemp("checkout"), test_dropout=TESTS)


@pytest.fixture(scope="module")
def runs(folder):
    """The tests with torch's classes and with ours."""
    return run(folder, "nn/test_dropout.py"), run(folder, "nn/test_dropout.py", "--ours")


def compared(runs, known):
    return compare(*(r.outcomes for r in runs), known)


def test_only_tests_that_reach_the_classes_are_run(runs):
    for r in runs:
        assert r.found == TESTS.count("def test_") == 12
        assert "Tests::test_other" not in r.outcomes
        assert len(r.outcomes) == 11


def test_outcomes_and_built_classes_are_recorded(runs):
    for r in runs:
        found = {name.removeprefix("Tests::test_"): outcome for name, outcome in r.outcomes.items()}
        assert found["both_pass"] == Outcome("passed", "", frozenset({"GRU"}))
        assert found["helper_method"].built == {"GRUCell"}
        assert found["helper_function"].built == {"LSTMCell"}
        assert found["decorated"].built == {"GRU"}
        assert found["by_string"].built == {"LSTM"}
        assert found["skipped_gru"] == Outcome("skipped", "never", frozenset())
        assert found["expected_failure_of_gru"].outcome == "failed as expected"
        assert found["fails_with_both"].outcome == "failed"
        assert "AssertionError: always" in found["fails_with_both"].message


def test_every_file_can_be_run_whole(folder):
    assert "Tests::test_other" in run(folder, "nn/test_dropout.py", "--all").outcomes


def test_differences_that_are_not_listed_are_problems(runs):
    found = compared(runs, {})
    assert [line.partition(": ")[0] for line in found.problems] == sorted(DIFFERENT)
    assert all("not listed in known.py" in line for line in found.problems)
    assert "Tests::test_both_pass" in found.same
    assert [line.partition(":")[2].partition(" with both")[0] for line in found.not_comparable] == [
        ":test_expected_failure_of_gru: failed as expected",
        ":test_fails_with_both: failed",
        ":test_skipped_gru: skipped",
    ]


def test_listed_differences_are_none(runs):
    found = compared(runs, LISTED)
    assert found.problems == []
    assert found.known == [f"{name}: {LISTED[name].reason}" for name in sorted(DIFFERENT)]


def test_a_listed_difference_with_another_message_is_a_problem(runs):
    found = compared(runs, {**LISTED, "Tests::test_in_lstm": Known("something else", "a reason")})
    (line,) = found.problems
    assert line.startswith(
        "Tests::test_in_lstm: expected 'something else' as listed in known.py, got passed with torch's"
    )


def test_a_listed_difference_that_is_gone_is_a_problem_unless_the_test_is_not_there(runs):
    gone = {"Tests::test_both_pass": Known("", "a reason"), "Tests::test_unknown": Known("", "a reason")}
    found = compared(runs, {**LISTED, **gone})
    assert found.problems == ["Tests::test_both_pass: listed in known.py, expected a difference, got none (passed)"]


def test_a_test_that_only_one_run_has_is_a_problem():
    passed = Outcome("passed", "", frozenset())
    found = compare({"a": passed, "b": passed}, {"a": passed}, {})
    assert found.problems == ["expected the same tests, got other ones: b"]


@pytest.mark.parametrize("outcome", ["skipped", "failed"])
def test_a_file_in_which_nothing_passes_is_a_problem(outcome):
    outcomes = {"a": Outcome(outcome, "", frozenset())}
    for some in (outcomes, {}):
        assert compare(some, some, {}).problems == ["expected a test that passes with both, got none"]


@pytest.mark.parametrize(("known", "status"), [(LISTED, 0), ({}, 1)], ids=["listed", "unlisted"])
def test_the_exit_status_and_what_is_printed(folder, runs, known, status, monkeypatch, capsys):
    monkeypatch.setitem(KNOWN, "nn/test_dropout.py", known)
    monkeypatch.setattr(program, "run", lambda folder, name, *options: runs["--ours" in options])
    assert program.main(["--folder", str(folder)]) == status
    out = capsys.readouterr().out
    assert f"test_nn.py: not in {folder}\n" in out
    assert "  11 of 12 tests can reach the classes; 5 pass with both\n" in out
    assert "  tests that build torch's: Dropout 1, GRU 3, GRUCell 1, LSTM 1, LSTMCell 1\n" in out
    assert "  tests that build ours: Dropout 1, GRU 2, GRUCell 1, LSTM 1, LSTMCell 1\n" in out
    assert out.count("  known difference: ") == (0 if status else 3)
    assert out.count("  PROBLEM: ") == (3 if status else 0)
    assert out.endswith("3 problems\n" if status else "0 problems\n")


def test_missing_files_are_named(tmp_path, capsys):
    expected = "expected at least one of test_nn.py, nn/test_packed_sequence.py, nn/test_dropout.py, got"
    assert program.main(["--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"--folder {tmp_path}: {expected} none of them\n"
    with pytest.raises(CannotRunError, match=f"{expected} no such folder"):
        files_in(tmp_path / "absent")


def test_files_that_are_there_are_taken(tmp_path):
    assert files_in(folder_with(tmp_path, test_nn="", test_packed_sequence="")) == list(FILES[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import a_module_that_is_not_there", "expected exit status 0, got 1:(.|\n)*a_module_that_is_not_there"),
        (TESTS.replace("build(False)", "__import__('os')._exit(0)"), "expected 11 outcomes, got"),
        (TESTS + "import atexit, os; atexit.register(os._exit, 3)", "expected exit status 0, got 3"),
    ],
    ids=["import", "stopped", "exit"],
)
def test_a_file_that_does_not_run_to_its_end_is_an_error(tmp_path, text, message):
    folder_with(tmp_path, test_nn=text)
    with pytest.raises(CannotRunError, match=message):
        run(tmp_path, "test_nn.py")
