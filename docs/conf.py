"""How Sphinx builds the manual: ``poe docs``, which fails on any warning."""

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

from organism import __version__

project = "organism"
author = "the organism developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["observe"]

html_theme = "furo"
html_title = f"organism {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# Types come from the signatures and meaning from the docstrings; members in the order of the source.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Diagrams are drawn where the page is read on a forge; here they stand as the text they are, without scripts of others.
lexers["mermaid"] = TextLexer()

# Building needs no network: references into other projects' manuals are plain text.
intersphinx_mapping: dict[str, tuple[str, str | None]] = {}
