"""Notebooks of the course: each page of docs/course that has code, as OUT/notebooks/NAME.ipynb, and a link to it below its title.

A block of Python becomes a code cell, all else markdown cells. An answer between `<details>` and `</details>` is one markdown
cell, its code included, so that it stays folded. The notebook needs no file beside it: images are attachments, and links to other
pages lead to the repository.
"""

import base64
import mimetypes
import posixpath
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from sphinx.application import Sphinx

HOME = "https://github.com/fusedrnn/fusedrnn"
INSTALL = f"# Remove the # of the next line if fusedrnn is not installed.\n# %pip install torch git+{HOME}"
FORMAT = {"extension": ".md", "format_name": "markdown", "split_at_heading": True}
CODE = re.compile(r"^```python$", re.MULTILINE)
FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
DETAILS = re.compile(r"^<details>.*?^</details>$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<to>[^)\s#]+)(?P<place>#[^)\s]*)?\)")


def pages(docs: Path) -> list[Path]:
    """Pages of the course that have code, in the order of their names."""
    return [page for page in sorted((docs / "course").glob("*.md")) if CODE.search(page.read_text(encoding="utf-8"))]


def notebook_of(page: Path, docs: Path) -> nbformat.NotebookNode:
    """Convert a page to a notebook of nbformat 4.5; `docs` is the folder of all pages."""
    text = DETAILS.sub(r"<!-- #region -->\n\g<0>\n<!-- #endregion -->", page.read_text(encoding="utf-8"))
    notebook = jupytext.reads(text, fmt=FORMAT)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(INSTALL))
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
        if cell.cell_type == "markdown":
            _make_self_contained(cell, page.parent, docs)
    return notebook


def _make_self_contained(cell: nbformat.NotebookNode, folder: Path, docs: Path) -> None:
    """Attach the images of a cell, and let its relative links lead to the repository."""
    attachments = {}

    def moved(found: re.Match[str]) -> str:
        to, place = found["to"], found["place"] or ""
        if re.match(r"\w+:", to):
            return found[0]
        if found["image"]:
            image = folder / to
            kind = mimetypes.guess_type(image.name)[0]
            attachments[image.name] = {kind: base64.b64encode(image.read_bytes()).decode()}
            return f"![{found['text']}](attachment:{image.name})"
        path = posixpath.normpath(f"docs/{folder.relative_to(docs).as_posix()}/{to}")
        return f"[{found['text']}]({HOME}/blob/main/{path}{place})"

    parts = FENCED.split(cell.source)  # at odd places code, where brackets are no links
    cell.source = "".join(part if k % 2 else LINK.sub(moved, part) for k, part in enumerate(parts))
    if attachments:
        cell.attachments = attachments


def write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Write the notebooks of an HTML build into its folder."""
    if exception is not None or app.builder.format != "html":
        return
    out, docs = Path(app.outdir) / "notebooks", Path(app.srcdir)
    out.mkdir(exist_ok=True)
    for page in pages(docs):
        nbformat.write(notebook_of(page, docs), out / f"{page.stem}.ipynb")


def add_link(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put a link to the notebook below the title of a page that has one."""
    docs = Path(app.srcdir)
    if pagename.startswith("course/") and (page := docs / f"{pagename}.md") in pages(docs):
        to = context["pathto"](f"notebooks/{page.stem}.ipynb", 1)
        link = f'<p><a href="{to}" download>Download this page as a notebook</a></p>'
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{link}", 1)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both steps."""
    app.connect("html-page-context", add_link)
    app.connect("build-finished", write_notebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
