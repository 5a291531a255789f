"""A real browser without a window, which talks to one address only and tells what it found wrong."""

from __future__ import annotations

import contextlib
import shutil

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LISTEN = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.effectiveDirective} ${event.blockedURI}`));
"""


class Browser:
    """A browser, and what it has complained of.

    Attributes:
        complaints: Messages of the console, errors of scripts, and violations of the content security policy.
        requests: The addresses that it has asked for.
        strayed: Those of them that were not the one address.
    """

    def __init__(self, browser: Any, address: str) -> None:
        self._browser = browser
        self._address = address
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.strayed: list[str] = []

    def context(self, **options: Any) -> BrowserContext:
        """Return a profile of its own, with nothing in it."""
        context: BrowserContext = self._browser.new_context(**{"viewport": {"width": 1440, "height": 1000}} | options)
        context.set_default_timeout(15_000)
        context.route("**/*", self._route)
        context.add_init_script(_LISTEN)
        context.on("page", self._listen)
        return context

    def page(self, **options: Any) -> Page:
        """Return a page in a profile of its own."""
        return self.context(**options).new_page()

    def _route(self, route: Any) -> None:
        url = route.request.url
        self.requests.append(url)
        if url.startswith(f"{self._address}/"):
            route.continue_()
        else:
            self.strayed.append(url)
            route.abort()

    def _listen(self, page: Any) -> None:
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"{kind}: {text}")


@contextlib.contextmanager
def launched(address: str) -> Iterator[Browser]:
    """Start a browser, or skip the test.

    Args:
        address: Where it may go: scheme, host and port.
    """
    program = shutil.which("chromium")
    if program is None:
        # PyPI carries no browser.
        pytest.skip("needs chromium: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        # It drives the browser, and is needed for nothing else.
        pytest.skip("needs playwright: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        try:
            yield Browser(browser, address)
        finally:
            browser.close()
