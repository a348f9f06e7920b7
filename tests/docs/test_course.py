"""The chapters of the course have one form, and name experiments that exist."""

import re

import pytest

from tests.helpers.pages import DOCS, ROOT

INDEX = (DOCS / "course" / "index.md").read_text(encoding="utf-8")
CHAPTERS = re.findall(r"^\| \[[^\]]+\]\((\w+)\.md\)", INDEX, re.MULTILINE)
HEADINGS = ["The idea", "The formula", "A small program", "What the experiment shows", "Exercises"]
EACH = pytest.mark.parametrize("chapter", CHAPTERS)


def text_of(chapter):
    return (DOCS / "course" / f"{chapter}.md").read_text(encoding="utf-8")


def test_the_table_lists_every_chapter_in_the_order_of_the_menu():
    menu = re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)```", INDEX, re.DOTALL)[1].split()
    assert menu == ["errors", *CHAPTERS]
    assert sorted(menu) == sorted(page.stem for page in (DOCS / "course").glob("*.md") if page.stem != "index")


@EACH
def test_a_chapter_has_the_parts_of_a_chapter(chapter):
    text = text_of(chapter)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    exercises = text.partition("## Exercises")[2]
    assert re.findall(r"^\*\*(\d)\.\*\*", exercises, re.MULTILINE) == ["1", "2"]
    assert exercises.count("<details><summary>Answer</summary>\n\n") == exercises.count("\n\n</details>") == 2


@EACH
def test_a_chapter_names_experiments_that_exist(chapter):
    row = next(line for line in INDEX.splitlines() if f"({chapter}.md)" in line)
    scripts = re.findall(r"^python examples/(\w+\.py) .*--out out/", text_of(chapter), re.MULTILINE)
    assert set(scripts) == set(re.findall(r"`(\w+\.py)`", row))
    assert [script for script in scripts if not (ROOT / "examples" / script).exists()] == []
