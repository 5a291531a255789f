"""The application: which request goes where, and who may make it."""

from __future__ import annotations

import math

from collections.abc import Awaitable, Callable
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom_agent import api, guard
from strongroom_agent.answers import INTERNAL, NOT_HERE, UNKNOWN_CALLER, Answer, Send, document, failed, refusal
from strongroom_agent.callers import CREDENTIALS, Caller, Scope, principal_of
from strongroom_agent.limits import Bucket
from strongroom_agent.log import LOG
from strongroom_agent.state import AgentState, Generation

Receive = Callable[[], Awaitable[Any]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PLAIN: Final = b"text/plain; charset=utf-8"
ALIVE: Final = Answer(status=200, body=b"ok\n", kind=PLAIN)
_PAGES: Final = ("GET", "HEAD")


class Agent:
    """Answers requests, whatever they are.

    Args:
        state: The agent.
    """

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._dashboard = _dashboard(state) if state.settings.dashboard else None
        self._pages: dict[str, Callable[[Scope, dict[bytes, bytes]], Awaitable[Answer]]] = {
            "/healthz": self._alive,
            "/readyz": self._ready,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what ASGI calls."""
        if scope["type"] != "http":
            return
        began, told = self._state.clock(), _Told(send)
        try:
            answer = await self._answer(scope, receive, told)
        # The boundary of everything: no traceback reaches a caller or the log, for its texts may be anybody's.
        except Exception as error:  # noqa: BLE001  # see above
            LOG.error("a request failed inside: %s", type(error).__name__)
            answer = None if told.status else INTERNAL
        if answer is not None:
            await answer.send(told)
        if not told.status:
            return  # whoever asked is gone
        path = scope["path"]
        endpoint = path if path in self._pages or path in api.ENDPOINTS else "other"
        self._state.tally.answered(endpoint, told.status, self._state.clock() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Return the answer; nothing if it has been sent."""
        path, method = scope["path"], scope["method"]
        with self._state.using() as generation:
            headers = guard.headers_of(scope)
            if headers is None:
                return guard.MALFORMED
            refused = guard.problem_of(scope, headers, generation.settings.hosts)
            if refused is not None:
                return refused
            endpoint = api.ENDPOINTS.get(path)
            if endpoint is not None:
                if method != "POST":
                    return _wrong_method("POST")
                return await self._call(generation, scope, headers, receive, endpoint)
            generation.callers.identify(scope, headers)
            page = self._pages.get(path)
            if page is not None:
                return await page(scope, headers) if method in _PAGES else _wrong_method("GET, HEAD")
            if not generation.settings.dashboard:
                return NOT_HERE
            if self._dashboard is None:
                # It was switched on by a reload.
                self._dashboard = _dashboard(self._state)
            await self._dashboard(scope, receive, send)
            return None

    async def _call(
        self,
        generation: Generation,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        endpoint: tuple[api.Handler, dict[str, type]],
    ) -> Answer | None:
        refused = guard.problem_of_call(headers)
        if refused is not None:
            return refused
        caller = generation.callers.identify(scope, headers)
        if caller is None:
            return _over(generation.strangers, 1) or UNKNOWN_CALLER
        body = await _body(receive, generation.settings.max_request_bytes)
        if body is None:
            return None
        # A reload may have come before the body, and with it the end of this caller.
        with self._state.using() as current:
            caller = caller if current is generation else current.callers.identify(scope, headers)
            if caller is None:
                return UNKNOWN_CALLER
            return await self._read(current, caller, headers, body, endpoint)

    async def _read(
        self,
        generation: Generation,
        caller: Caller,
        headers: dict[bytes, bytes],
        body: bytes,
        endpoint: tuple[api.Handler, dict[str, type]],
    ) -> Answer:
        handler, kinds = endpoint
        try:
            question = api.Question(body, kinds)
            number = len(api.names_in(question)) if handler is api.get_many else 1
        except api.RequestError as error:
            return _over(generation.bucket(caller), 1) or api.malformed(error)
        limited = _over(generation.bucket(caller), number)
        if limited is not None:
            return limited
        try:
            manager = generation.view(caller)
        except StrongroomError as error:
            return failed(error)
        if b"traceparent" not in headers:
            return await api.answer(manager, handler, question)
        from strongroom_agent.tracing import within

        with within(headers):
            return await api.answer(manager, handler, question)

    async def _alive(self, _: Scope, __: dict[bytes, bytes]) -> Answer:
        return ALIVE

    async def _ready(self, scope: Scope, headers: dict[bytes, bytes]) -> Answer:
        known = principal_of(scope) is not None
        if not known and any(name in headers for name in CREDENTIALS):
            # Otherwise this would be the place to try tokens at.
            return _over(self._state.current.strangers, 1) or UNKNOWN_CALLER
        report = self._state.health.latest()
        if self._state.stopping:
            return document({"state": "stopping"}, status=503)
        if report is None:
            return document({"state": "unknown"}, status=503)
        shown: dict[str, Any] = {"state": report.word}
        if known:
            shown["parts"] = [
                {"kind": part.kind, "name": part.name, "state": part.state.value, "breaker": part.breaker}
                for part in report.parts
            ]
            shown["journal"] = None
            if report.waiting is not None:
                shown["journal"] = {"waiting": report.waiting, "set_aside": report.set_aside}
            shown["age"] = round(self._state.clock() - report.began, 1)
        return document(shown, status=503 if report.word == "unhealthy" else 200)

    async def _metrics(self, scope: Scope, headers: dict[bytes, bytes]) -> Answer:
        if principal_of(scope) is None and self._state.settings.metrics != "open":
            return _over(self._state.current.strangers, 1) or UNKNOWN_CALLER
        text, kind = await self._state.metrics.answer(headers.get(b"accept", b"").decode("latin-1"))
        return Answer(status=200, body=text, kind=kind.encode())


class _Told:
    """Sends on, and keeps the status that was sent.

    Args:
        send: What ASGI gives.
    """

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _wrong_method(allowed: str) -> Answer:
    return refusal(
        405, "wrong_method", "this path is not asked in this way", f"use {allowed}", [(b"allow", allowed.encode())]
    )


def _over(bucket: Bucket, number: int) -> Answer | None:
    wait = bucket.take(number)
    if not wait:
        return None
    headers = [(b"retry-after", b"%d" % max(1, math.ceil(wait)))]
    return refusal(429, "too_many_requests", "this caller asks too often", "ask again later", headers)


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return the request's body; nothing if whoever asked is gone, or sends too much."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        size += len(message["body"])
        if size > most:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _dashboard(state: AgentState) -> App:
    """Return what answers for the dashboard."""
    # Imported here: most agents have none.
    from starlette.applications import Starlette

    from strongroom_agent import dashboard

    pages = Starlette(routes=dashboard.routes(state), debug=False)
    pages.router.redirect_slashes = False
    return pages
