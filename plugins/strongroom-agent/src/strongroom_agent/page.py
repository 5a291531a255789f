"""The files of the dashboard's page, and what each answer tells the browser to be strict about.

A page that is open has all modules of its script: none is loaded later. So it goes on as it was while the agent is
replaced by another version, and a reload asks for each file anew, which is sent if it is another one.
"""

from __future__ import annotations

import hashlib

from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; font-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""What each answer says to the browser."""

_FIRST: Final = "index.html"
_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
"""The content type of each file, by the end of its name."""


def page_routes() -> list[BaseRoute]:
    """Return what answers with the page, its style and the modules of its script."""
    folder = files("strongroom_agent").joinpath("static")
    # Sorted: folders tell their files in any order. What editors and systems leave there is no part of the page.
    names = sorted(path.name for path in folder.iterdir() if _ending(path.name) in _KINDS)
    return [
        *(_route(name, folder.joinpath(name).read_bytes()) for name in names),
        Route("/favicon.ico", _no_icon, methods=["GET"]),
    ]


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


def _route(name: str, content: bytes) -> Route:
    kind, etag = _KINDS[_ending(name)], f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = HEADERS | {"ETag": etag, "Cache-Control": "no-cache"}

    async def answer(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", "").split(", "):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return Route("/" if name == _FIRST else f"/static/{name}", answer, methods=["GET"])


async def _no_icon(_: Request) -> Response:
    """Answer browsers, which ask for an icon without being told of one."""
    return Response(status_code=204, headers=HEADERS)
