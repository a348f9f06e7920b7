"""The pages: every block of Python runs, links into the repository lead somewhere, and the site builds without a warning."""

import ast
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
HOME = "https://github.com/fusedrnn/fusedrnn"


def blocks(page, *languages):
    """Code of a page's blocks in these languages, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if found["language"].strip() in languages:
            yield text[: found.start("code")].count("\n") + 1, found["code"]


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of the compiler of torch.compile
@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "python"))], ids=name_of)
def test_every_block_of_python_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    space = {"__name__": "page"}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), space)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_that_are_not_run_are_python_too(page):
    for _, code in blocks(page, "{code-block} python"):
        ast.parse(textwrap.dedent(code))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"], ids=name_of)
def test_links_to_the_repository_lead_to_files(page):
    for path in re.findall(rf"{HOME}/(?:blob|tree|raw)/main/([^\s)#\"]+)", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def test_the_readme_has_no_relative_links():
    """The page on PyPI has no files beside it."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


class Html(HTMLParser):
    """The places of a page that can be linked to, what it links to, and what a browser loads with it."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe") or (tag == "link" and given.get("rel") != "canonical"):
            self.loaded += [given[name] for name in ("src", "href") if given.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages by path, built with warnings as errors."""
    pytest.importorskip("sphinx")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return {path: Html(path) for path in out.rglob("*.html")}


def test_links_lead_somewhere(site):
    broken = []
    for path, page in site.items():
        for link in page.links:
            to, _, place = unquote(link).partition("#")
            if re.match(r"(https?|mailto):", to):
                continue
            target = (path.parent / to).resolve() if to else path
            if not target.exists() or (place and target in site and place not in site[target].ids):
                broken.append(f"{path.name}: {link}")
    assert broken == []
    assert sum(len(page.links) for page in site.values()) > 500


def test_nothing_is_loaded_from_elsewhere(site):
    """The pages work without a network."""
    loaded = {(p, what) for p, page in site.items() for what in page.loaded if not what.startswith(("data:", "#"))}
    assert [what for _, what in loaded if re.match(r"(https?:)?//", what)] == []
    missing = [
        (path.name, what) for path, what in loaded if not (path.parent / unquote(what).partition("?")[0]).exists()
    ]
    assert missing == []


def test_every_page_is_reached_from_the_first(site):
    first = next(path for path in site if path.name == "index.html" and path.parent.name.startswith("site"))
    reached, left = set(), [first]
    while left:
        path = left.pop()
        if path in reached or path not in site:
            continue
        reached.add(path)
        left += [(path.parent / unquote(link).partition("#")[0]).resolve() for link in site[path].links]
    assert set(site) - reached <= {first.parent / name for name in ("search.html", "py-modindex.html", "genindex.html")}
