"""Which tests can reach the classes."""

import re
import types
import unittest
from collections.abc import Iterator

WORDS = re.compile("rnn|lstm|gru|dropout|packed|pack_|transformer", re.IGNORECASE)
"""torch.nn's Transformer layers build Dropout."""


def tests_of(module: types.ModuleType) -> list[unittest.TestCase]:
    """Every test of the module's classes, sorted by its name."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    classes = {v for v in vars(module).values() if isinstance(v, type) and issubclass(v, unittest.TestCase)}
    return sorted((test for cls in classes for test in load(cls)), key=lambda test: test.id())


def is_relevant(test: unittest.TestCase) -> bool:
    """Whether the test's name, or the code that it reaches within its file, has one of `WORDS`."""
    name = test.id().rpartition(".")[2]
    return any(WORDS.search(word) for word in (name, *_words(getattr(type(test), name), type(test), set())))


def _words(function: object, cls: type, seen: set[types.FunctionType]) -> Iterator[str]:
    """Names and strings in the code of a function, of what it wraps or encloses, and of what it uses of its class and file."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType) or function in seen:
        return
    seen.add(function)
    for cell in function.__closure__ or ():
        yield from _words(cell.cell_contents, cls, seen)
    for word in _words_of_code(function.__code__):
        yield word
        used = getattr(cls, word, function.__globals__.get(word)) if word.isidentifier() else None
        if getattr(used, "__module__", None) == cls.__module__:
            yield from _words(used, cls, seen)


def _words_of_code(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _words_of_code(const)
        else:
            yield from (part for part in (const if isinstance(const, tuple) else (const,)) if isinstance(part, str))
