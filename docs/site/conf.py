"""How Sphinx makes the site out of the sources that ``build.py`` has put together."""

from __future__ import annotations

import html

from collections.abc import Callable
from functools import cache
from typing import Any

from sphinx.search.en import SearchEnglish

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
html_permalinks_icon = "#"
html_show_copyright = False
html_use_index = False
html_domain_indices = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def _before_theme(_app: Any, _page: str, _template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep the theme from making the whole tree of pages on each of them, and show above a page what it is part of."""
    context["toctree"] = lambda **_options: ""
    if "body" in context:
        # What scrolls sideways has to be within reach of the keyboard.
        context["body"] = context["body"].replace("<pre>", '<pre tabindex="0">')
    if doctree is not None and context.get("parents"):
        steps = "".join(f'<li><a href="{html.escape(up["link"])}">{up["title"]}</a></li>' for up in context["parents"])
        context["body"] = f'<nav class="trail" aria-label="Above this page"><ol>{steps}</ol></nav>{context["body"]}'


def _after_theme(app: Any, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Show of the tree of pages the way to this page, with what is beside and below each step."""
    parents = _parents(app.env)
    way = [page]
    while way[-1] in parents:
        way.append(parents[way[-1]])
    context["furo_navigation_tree"] = _branch(app.env, context["pathto"], app.env.config.root_doc, way, 1)


def _parents(env: Any) -> dict[str, str]:
    return {child: parent for parent, children in env.toctree_includes.items() for child in children}


def _branch(env: Any, path_to: Callable[[str], str], above: str, way: list[str], level: int) -> str:
    """Return the list of what is below a page; what is below that only where it is on the way."""
    made = []
    for name in env.toctree_includes.get(above, ()):
        on_way = name in way
        marks = f"toctree-l{level}{' current' if on_way else ''}{' current-page' if name == way[0] else ''}"
        link = f'<a class="reference internal" href="{path_to(name)}">{html.escape(_label(env, name))}</a>'
        below = _branch(env, path_to, name, way, level + 1) if on_way else ""
        made.append(f'<li class="{marks}">{link}{below}</li>')
    return f"<ul>{''.join(made)}</ul>" if made else ""


def _label(env: Any, name: str) -> str:
    """Return a page's title as it is clear below the page that lists it."""
    if name.startswith("reference/settings/") and name.count("/") == 3:
        return name.rpartition("/")[2]
    return (
        "What strongroom is" if name == "project/about" else str(env.titles[name].astext()).removeprefix("strongroom ")
    )


class English(SearchEnglish):
    """The language of the search, which finds each word's stem once rather than on every page."""

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self.stem = cache(super().stem)  # type: ignore[method-assign]  # that is the point of it


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx what there is beside its own."""
    app.connect("html-page-context", _before_theme, priority=100)
    app.connect("html-page-context", _after_theme, priority=900)
    app.add_search_language(English)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
