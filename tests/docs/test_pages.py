"""The pages: every block of Python runs, links into the repository lead somewhere, and the site builds without a warning."""

import ast
import re
import textwrap
import tomllib
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import torch

from tests.helpers.pages import HOME, PAGES, ROOT, blocks, name_of, run

TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of the compiler of torch.compile
@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if any(blocks(text, "python"))], ids=name_of)
def test_every_block_of_python_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    run(blocks(TEXTS[page], "python"), page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_that_are_not_run_are_python_too(page):
    for _, code in blocks(TEXTS[page], "{code-block} python"):
        ast.parse(textwrap.dedent(code))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"], ids=name_of)
def test_links_to_the_repository_lead_to_files(page):
    for path in re.findall(rf"{HOME}/(?:blob|tree|raw)/main/([^\s)#\"]+)", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def test_the_readme_has_no_relative_links():
    """The page on PyPI has no files beside it."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_address_of_the_repository_is_the_same_everywhere():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"] == HOME
    files = [
        *PAGES,
        *(ROOT / name for name in ("CITATION.cff", "benchmarks/report.py", "docs/extensions/notebooks.py")),
    ]
    found = [re.findall(r"https://github\.com/[\w-]*/fusedrnn\b", file.read_text(encoding="utf-8")) for file in files]
    assert {address for each in found for address in each} == {HOME}
    assert all(found[-3:])


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
def site(site_folder):
    """The pages by path."""
    return {path: Html(path) for path in site_folder.rglob("*.html")}


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


def test_every_page_is_reached_from_the_first(site, site_folder):
    first = site_folder / "index.html"
    reached, left = set(), [first]
    while left:
        path = left.pop()
        if path in reached or path not in site:
            continue
        reached.add(path)
        left += [(path.parent / unquote(link).partition("#")[0]).resolve() for link in site[path].links]
    assert set(site) - reached <= {first.parent / name for name in ("search.html", "py-modindex.html", "genindex.html")}
