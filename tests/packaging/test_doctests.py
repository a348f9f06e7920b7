"""Every public name explains itself: its docstring has the sections of torch.nn's, a line an argument, and examples that run."""

import doctest
import inspect
import re

import pytest
from torch import nn

import fusedrnn
from fusedrnn import functional, init
from fusedrnn.auto import settings
from fusedrnn.modules.base import Options as LayerOptions
from fusedrnn.stacks.run import Options as StackOptions

PUBLIC = {
    name: getattr(fusedrnn, name) for name in fusedrnn.__all__ if name not in ("__version__", "functional", "init")
}
PUBLIC |= {f"functional.{name}": thing for name, thing in vars(functional).items() if inspect.isfunction(thing)}
PUBLIC |= {
    f"init.{name}": thing for name, thing in vars(init).items() if inspect.isfunction(thing) and name.endswith("_")
}
MODULES = {name: thing for name, thing in PUBLIC.items() if isinstance(thing, type) and issubclass(thing, nn.Module)}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
OPTIONS = {"FusedGRU": LayerOptions, "FusedLSTM": LayerOptions, "FusedRNN": LayerOptions}
OPTIONS |= {f"functional.{name}": StackOptions for name in ("gru", "lstm", "rnn")}


def arguments(name, call):
    """The names of the arguments of `call`, with the options that it takes by name."""
    named = [each for each in inspect.signature(call).parameters if each not in ("self", "options")]
    return [*named, *OPTIONS[name].__annotations__] if name in OPTIONS else named


def undescribed(call, names):
    """The arguments that the docstring has no line for."""
    text = inspect.getdoc(call)
    return [name for name in names if not re.search(rf"^ +\*?\*?{name}: \S", text, re.MULTILINE)]


def sections(call):
    return re.findall(r"^(\w[\w ]*):$", inspect.getdoc(call), re.MULTILINE)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_run(name, monkeypatch):
    monkeypatch.setattr(settings, "_mode", None)  # which one of them sets
    monkeypatch.setattr(settings, "_budget", None)
    (found,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    assert found.examples
    said = []
    doctest.DocTestRunner().run(found, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_describes_its_arguments_shapes_and_errors(name):
    kind = MODULES[name]
    assert undescribed(kind, arguments(name, kind)) == []
    assert {"Args", "Shape", "Raises", "Example"} <= set(sections(kind))


@pytest.mark.parametrize("name", MODULES)
def test_the_forward_of_a_module_describes_its_arguments_and_results(name):
    forward = MODULES[name].forward
    assert undescribed(forward, arguments("forward", forward)) == []
    assert {"Args", "Returns"} <= set(sections(forward))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_describes_its_arguments(name):
    function = FUNCTIONS[name]
    assert undescribed(function, arguments(name, function)) == []


@pytest.mark.parametrize("name", [*FUNCTIONS, *(f"{name}.forward" for name in MODULES), "InitialState.reset"])
def test_results_are_not_cut_in_two_by_sphinx(name):
    """Its reader of such docstrings takes what stands before a colon in a Returns section for a type."""
    kind, _, method = name.partition(".")
    described = PUBLIC[name] if name in PUBLIC else getattr(MODULES[kind], method)
    results = re.search(r"^Returns:\n((?: +.*\n?)+)", inspect.getdoc(described), re.MULTILINE)
    assert results is None or ": " not in results[1]


@pytest.mark.parametrize("name", MODULES)
def test_help_on_a_constructor_is_about_the_module(name):
    """torch.nn's classes have none of their own, so that help() shows that of nn.Module."""
    assert "__init__" in vars(MODULES[name])
    assert vars(MODULES[name])["__init__"].__doc__


@pytest.mark.parametrize("name", ["FusedGRU", "FusedLSTM", "FusedRNN", "FusedDropout"])
def test_formulas_are_given_with_their_source(name):
    text = inspect.getdoc(MODULES[name])
    assert re.search(r"^ +\S+ +=.*", text, re.MULTILINE)
    assert re.search(r"\b(19|20)\d\d\b", text)
