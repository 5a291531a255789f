"""The dashboard: what its page asks for, and who may see it.

Whoever looks at it sees the audit events of all principals, and never a value. The page itself holds nothing; each
request for data needs a header that no other site can send, comes from the page's own origin, and is made by a caller
with ``dashboard = true``: known by the session that he has begun with his token, or as for the rest of the agent.
"""

from __future__ import annotations

import time

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from strongroom.errors import InvalidNameError, StrongroomError
from strongroom_agent import asked
from strongroom_agent.answers import encoded, problem
from strongroom_agent.callers import Caller, principal_of
from strongroom_agent.guard import FORWARDED
from strongroom_agent.looks import Verifier
from strongroom_agent.overview import (
    MOST_ALERTS,
    SPANS,
    cache_part,
    described,
    figures_part,
    health_part,
    moment,
    rotation_part,
    trail_part,
)
from strongroom_agent.page import HEADERS, page_routes
from strongroom_agent.sessions import LONGEST_SECONDS, Sessions
from strongroom_agent.window import Wanted, Window

if TYPE_CHECKING:
    from strongroom_agent.state import AgentState

COOKIE: Final = "strongroom_session"
REQUEST_HEADER: Final = "x-strongroom-request"
"""Must be ``true``: a page of another site cannot send it without asking the agent first, which says no."""
KEY_HEADER: Final = "x-strongroom-key"
"""What the page has kept of its session, beside the cookie."""
MOST_ROWS: Final = 200
LAST_PAGE: Final = 1_000_000

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(state: AgentState) -> list[BaseRoute]:
    """Return what the dashboard answers to.

    Args:
        state: What the agent has open. The audit trail is read from when somebody first looks.
    """
    made = Dashboard(state)
    state.closing.append(made.close)
    return made.routes()


class Dashboard:
    """The dashboard of one agent.

    Args:
        state: What the agent has open.
    """

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._sessions = Sessions(self._token_of, clock=state.clock)
        self._window = Window(lambda: state.manager, state.settings.window_events)
        self._verifier = Verifier(lambda: state.manager)
        self._rotations = state.rotations

    def routes(self) -> list[BaseRoute]:
        """Return what it answers to."""
        return [
            *page_routes(),
            Route("/dashboard/session", _answering(self._session), methods=["GET"]),
            Route("/dashboard/overview", self._guarded(self._overview), methods=["GET"]),
            Route("/dashboard/search", self._guarded(self._search), methods=["POST"]),
            Route("/dashboard/login", _answering(self._login), methods=["POST"]),
            Route("/dashboard/logout", self._guarded(self._logout), methods=["POST"]),
        ]

    def close(self) -> None:
        """Follow and verify no more; the looks at rotations are the agent's."""
        self._window.close()
        self._verifier.close()

    def _guarded(self, endpoint: Callable[[Request], Awaitable[object]]) -> Endpoint:
        """Return an endpoint that answers only those who may see the dashboard."""

        async def guarded(request: Request) -> object:
            self._identified(request)
            for part in (self._window, self._verifier, self._rotations):
                part.start()
            return await endpoint(request)

        return _answering(guarded)

    def _identified(self, request: Request) -> str:
        """Return the name of the caller, and refuse whoever may not see the dashboard."""
        name = self._session_of(request)
        if name is not None:
            return name
        caller = principal_of(request.scope)
        if caller is None:
            raise self._stranger("you are not logged in", "log in with your token")
        _check_may_look(caller)
        return caller.name

    def _session_of(self, request: Request) -> str | None:
        """Return whose session a request belongs to, if he may still see the dashboard, and by the same token."""
        cookie, key = request.cookies.get(COOKIE), request.headers.get(KEY_HEADER)
        return self._sessions.find(cookie, key) if cookie and key else None

    def _token_of(self, name: str) -> bytes | None:
        """Return the digest of the token by which a caller may log in to the dashboard now."""
        known = self._state.callers.token_of(name)
        return known[1] if known is not None and known[0].dashboard else None

    async def _session(self, request: Request) -> object:
        """Say who is logged in, which is no error if nobody is."""
        caller = principal_of(request.scope)
        known = caller.name if caller is not None and caller.dashboard else None
        return {"caller": self._session_of(request) or known}

    def _stranger(self, message: str, hint: str) -> asked.Refused:
        """Return the answer to somebody unknown; strangers are slowed down together."""
        if self._state.current.strangers.take(1):
            return asked.Refused(429, "too_many_requests", "too many strangers ask", "ask again later")
        return asked.Refused(401, "unauthorized", message, hint)

    async def _login(self, request: Request) -> Response:
        token = asked.text(await asked.document(request), "token")
        # What stands around a token that was pasted is not part of it.
        caller = self._state.callers.of_token(token.strip().encode("utf-8", "surrogatepass"))
        if caller is None:
            raise self._stranger("this is not the token of a caller", "`strongroom agent token` makes one")
        _check_may_look(caller)
        tickets = self._sessions.begin(caller.name)
        if tickets is None:
            raise asked.Refused(503, "reloaded", "the configuration was read anew just now", "log in again")
        response = _json({"caller": caller.name, "key": tickets.key})
        response.set_cookie(
            COOKIE, tickets.cookie, max_age=int(LONGEST_SECONDS), path="/", httponly=True, samesite="strict"
        )
        return response

    async def _logout(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE, ""), request.headers.get(KEY_HEADER, ""))
        response = _json({})
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    async def _overview(self, request: Request) -> object:
        span = request.query_params.get("span", "1h")
        if span not in SPANS:
            raise asked.Refused(400, "malformed", "span is not usable", f"use one of {', '.join(SPANS)}")
        return await run_in_threadpool(self._whole, span)

    def _whole(self, span: str) -> dict[str, Any]:
        state, view = self._state, self._window.view()
        return {
            "span": span,
            "now": moment(time.time()),
            "started": moment(state.started),
            "cache": cache_part(state.manager.stats()),
            "health": health_part(state.health.latest(), view.conditions),
            "rotation": rotation_part(self._rotations.latest(), view.rotations),
            "alerts": [described(row) for row in view.alerts[:MOST_ALERTS]],
            "trail": trail_part(view, self._verifier.latest()),
            "figures": figures_part(self._window.series(step=SPANS[span])),
        }

    async def _search(self, request: Request) -> object:
        content = await asked.document(request)
        wanted = Wanted(
            **{field: asked.text(content, field) for field in ("principal", "name", "result", "event")},
            since=asked.number(content, "since"),
            until=asked.number(content, "until"),
        )
        page, size = asked.count(content, "page", 1, LAST_PAGE), asked.count(content, "size", 50, MOST_ROWS)
        upto = asked.number(content, "upto")
        found = await run_in_threadpool(
            self._window.search, wanted, page=page, size=size, upto=None if upto is None else int(upto)
        )
        return {"rows": [described(row) for row in found.rows], "total": found.total, "upto": found.newest}


def _json(content: object, status: int = 200) -> Response:
    return Response(encoded(content), status, media_type="application/json")


def _check_may_look(caller: Caller) -> None:
    if not caller.dashboard:
        raise asked.Refused(
            403, "denied", "this caller may not see the dashboard", f"set dashboard = true for {caller.name!r}"
        )


def _answering(endpoint: Callable[[Request], Awaitable[object]]) -> Endpoint:
    """Return an endpoint that answers in JSON, errors too, and only what comes from the page's own origin."""

    async def answer(request: Request) -> Response:
        try:
            _check_origin(request)
            result = await endpoint(request)
            response = result if isinstance(result, Response) else _json(result)
        except asked.Refused as refused:
            response = _json(refused.content, refused.status)
        except InvalidNameError as error:
            response = _json(problem(error.code, error.what, error.hint), 400)
        except StrongroomError as error:
            # A manager that is being replaced, say.
            response = _json(problem(error.code, "it cannot be found out just now", error.hint), 503)
        response.headers.update(HEADERS | {"Cache-Control": "no-store"})
        return response

    return answer


def _check_origin(request: Request) -> None:
    """Refuse what the page of another site has made a browser send."""
    headers = request.headers
    if any(name.decode() in headers for name in FORWARDED):
        raise asked.Refused(400, "forwarded", "the request was forwarded", "the agent answers without a proxy between")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    own = f"{request.url.scheme}://{headers.get('host', '')}"
    if site != "same-origin" or (origin is not None and origin != own):
        raise asked.Refused(403, "cross_site", "this comes from another site")
    if headers.get(REQUEST_HEADER) != "true":
        raise asked.Refused(403, "header_missing", "the header X-Strongroom-Request is missing", "send it with true")
