"""Formulas as MathML, which browsers draw themselves: pages need no script and no network."""

from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx


def _converted(node: nodes.Element, *, block: bool) -> str:
    """Raises MathError for LaTeX that cannot be converted, which ends the build."""
    text = node.astext()
    if block and "\\\\" in text and "\\begin" not in text:
        text = f"\\begin{{aligned}} {text} \\end{{aligned}}"
    tree = latex2mathml.tex2mathml(text, as_block=block)
    return str(tree)


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write an inline formula."""
    translator.body.append(_converted(node, block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own line or lines."""
    translator.body.append(f'<div class="math">{_converted(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
