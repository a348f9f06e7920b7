"""The pages of the documentation, their blocks of code, and how these run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
HOME = "https://github.com/fusedrnn/fusedrnn"


def blocks(text, *languages):
    """Code of the blocks in these languages, each with the number of its first line."""
    for found in BLOCK.finditer(text):
        if found["language"].strip() in languages:
            yield text[: found.start("code")].count("\n") + 1, found["code"]


def run(pieces, name):
    """Run pieces of code, (first line, code), in order in one fresh namespace."""
    space = {"__name__": "page"}
    for line, code in pieces:
        exec(compile("\n" * (line - 1) + code, str(name), "exec"), space)


def name_of(page):
    return str(page.relative_to(ROOT))
