"""How Sphinx builds the documentation: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from fusedrnn.version import __version__

project = "fusedrnn"
author = "The fusedrnn authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser", "sphinx_copybutton", "mathml", "notebooks"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions", "static"]
default_role = "code"
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(torch|nn|typing|collections|Tensor|PackedSequence|Any|optional)\b.*")]

myst_enable_extensions = ["dollarmath", "attrs_block", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # the browser's own: no script to load

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say what types are
autodoc_inherit_docstrings = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Shape", "notes_style"), ("Keyword Args", "params_style")]

smartquotes = False  # h' is no closing quotation mark
html_theme = "furo"
html_title = f"fusedrnn {version}"
html_static_path = ["static"]
html_css_files = ["math.css"]
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
