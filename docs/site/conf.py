"""How Sphinx makes the site out of the sources that ``build.py`` has put together."""

from __future__ import annotations

import functools
import html

from typing import Any

project = "strongroom"
author = "The strongroom developers"
extensions = ["myst_parser"]
root_doc = "index"
language = "en"
smartquotes = False  # two hyphens are an option, not a dash
nitpicky = True

myst_heading_anchors = 6
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "strongroom"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def _page_context(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Show of the navigation what is near the page, and above the page what it is part of."""
    if "toctree" in context:
        # The theme asks for the whole tree, which is a thousand pages on each of them.
        whole = context["toctree"]
        context["toctree"] = lambda **options: whole(**(options | {"collapse": True}))
    if doctree is not None and context.get("parents"):
        steps = [f'<a href="{html.escape(parent["link"])}">{parent["title"]}</a>' for parent in context["parents"]]
        trail = "".join(f"<li>{step}</li>" for step in steps)
        context["body"] = f'<nav class="trail" aria-label="Above this page"><ol>{trail}</ol></nav>{context["body"]}'


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx what there is beside its own."""
    app.connect("html-page-context", _page_context, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
