"""The notebooks of the course: the code of their pages, and nothing beside them needed."""

import ast
import re
import runpy
import sys

import pytest
import torch

from tests.helpers.pages import DOCS, HOME, blocks, run

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")

CONVERTER = runpy.run_path(str(DOCS / "extensions" / "notebooks.py"))
COURSE = CONVERTER["pages"](DOCS)
EVERY = pytest.mark.parametrize("page", COURSE, ids=lambda page: page.stem)
ANSWER = re.compile(r"^<details>.*?^</details>$", re.DOTALL | re.MULTILINE)


def convert(page):
    return CONVERTER["notebook_of"](page, DOCS)


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def page_in(tmp_path, text):
    """A page of a course of its own, and the folder of its documentation."""
    page = tmp_path / "docs" / "course" / "page.md"
    page.parent.mkdir(parents=True)
    page.write_text(text, encoding="utf-8")
    return page, tmp_path / "docs"


def test_there_are_pages():
    assert {page.stem for page in COURSE} >= {"overfitting", "dropout", "gru", "lstm", "bidirectional"}


@EVERY
def test_a_notebook_is_valid(page):
    notebook = convert(page)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert nbformat.writes(notebook) == nbformat.writes(convert(page))


@EVERY
def test_its_code_cells_are_the_blocks_of_the_page(page):
    install, *code = code_of(convert(page))
    assert all(line.startswith("#") for line in install.splitlines())
    assert "pip install" in install
    text = ANSWER.sub("", page.read_text(encoding="utf-8"))
    assert code == [block.rstrip("\n") for _, block in blocks(text, "python")]


@EVERY
def test_its_answers_stay_folded(page):
    """An answer, code included, is in one cell, so that the browser closes it."""
    cells = [cell.source for cell in convert(page).cells if cell.cell_type == "markdown"]
    assert sum(cell.count("<details>") for cell in cells) >= 2
    assert [cell for cell in cells if cell.count("<details>") != cell.count("</details>")] == []


@EVERY
def test_it_needs_no_file_beside_it(page):
    for cell in convert(page).cells:
        for to in re.findall(
            r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", cell.source if cell.cell_type == "markdown" else ""
        ):
            to = "".join(to)
            assert to.startswith(("https://", "attachment:")), to
            assert not to.startswith("attachment:") or to.removeprefix("attachment:") in cell.attachments


@EVERY
def test_it_has_no_syntax_of_myst(page):
    assert re.search(r"^(:::|```\{|\{#|\([\w-]+\)=)|\{\w+\}`", page.read_text(encoding="utf-8"), re.MULTILINE) is None


@EVERY
def test_its_code_runs_with_torch_and_fusedrnn_alone(page, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "examples"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "examples", None)  # importing it is an ImportError
    monkeypatch.chdir(tmp_path)
    code = code_of(convert(page))
    imported = [node for node in ast.walk(ast.parse("\n".join(code))) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.partition(".")[0] for node in imported for name in modules_of(node)}
    assert names <= {"torch", "fusedrnn", *sys.stdlib_module_names}
    torch.manual_seed(0)
    run([(1, cell) for cell in code], f"{page.stem}.ipynb")


def modules_of(node):
    return [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def test_images_are_attached_and_links_lead_to_the_repository(tmp_path):
    text = (
        "# Page\n\n![A point.](../figures/point.png)\n\n[next](other.md#place) [guide](../guide/ids.md) [out](https://d2l.ai)\n\n"
        "```python\nx = [abs][0](-1)\n```\n\n<details><summary>Answer</summary>\n\n```python\ny = [abs][0](x)\n```\n\n</details>\n"
    )
    page, docs = page_in(tmp_path, text)
    (docs / "figures").mkdir()
    (docs / "figures" / "point.png").write_bytes(b"\x89PNG")
    _, first, code, answer = CONVERTER["notebook_of"](page, docs).cells
    assert "![A point.](attachment:point.png)" in first.source
    assert first.attachments == {"point.png": {"image/png": "iVBORw=="}}
    assert f"[next]({HOME}/blob/main/docs/course/other.md#place)" in first.source
    assert f"[guide]({HOME}/blob/main/docs/guide/ids.md) [out](https://d2l.ai)" in first.source
    assert code.source == "x = [abs][0](-1)"
    assert answer.source.count("```") == 2
    assert "y = [abs][0](x)" in answer.source
    assert "region" not in answer.source


def test_a_page_without_code_has_no_notebook(tmp_path):
    page, docs = page_in(tmp_path, "# Page\n\n```text\npython examples/x.py\n```\n")
    assert CONVERTER["pages"](docs) == []
    page.write_text("```python\n1\n```\n", encoding="utf-8")
    assert CONVERTER["pages"](docs) == [page]


@EVERY
def test_the_site_has_it_and_links_to_it(page, site_folder):
    written = site_folder / "notebooks" / f"{page.stem}.ipynb"
    assert nbformat.read(written, as_version=4) == convert(page)
    html = (site_folder / "course" / f"{page.stem}.html").read_text(encoding="utf-8")
    assert html.count(f'href="../notebooks/{page.stem}.ipynb"') == 1
