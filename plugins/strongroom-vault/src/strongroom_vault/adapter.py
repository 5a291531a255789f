"""hvac's way to the server: our transport and our token under its client."""

from __future__ import annotations

import json

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import hvac

from hvac.adapters import Adapter

from strongroom.errors import BackendUnavailableError
from strongroom_vault.outages import READS
from strongroom_vault.replies import RefusedError, Reply
from strongroom_vault.transport import Transport


class Tokens(Protocol):
    """Where the token comes from that a request shows."""

    def current(self, limit: float) -> str:
        """Return a token, having logged in if need be.

        Args:
            limit: How many seconds there are to wait for another thread that logs in.
        """

    def cures(self, token: str, reply: Reply, limit: float, *, again: bool = False) -> bool:
        """Tell whether a refused request may be sent once more, since there is another token now.

        Args:
            token: What it showed.
            reply: The refusal.
            limit: As above.
            again: Whether this request was refused with another token before: then it may not, and the
                new token is known to be good, so that this is a denial, which ``reply`` then says.
        """


class VaultAdapter(Adapter):  # type: ignore[misc]  # hvac has no types
    """Sends what hvac asks for.

    A status of 400 and above raises :class:`RefusedError`, so that neither hvac's
    exceptions nor their texts are seen; outages raise what the transport raises.

    Args:
        transport: The way to the server.
        tokens: Where the token comes from; ``None`` for requests that show none.
        namespace: The namespace, without slashes around it; empty for the root.
        repeatable: Whether each request that is sent through this may be sent twice, even if it is a ``POST``.
    """

    def __init__(
        self, transport: Transport, tokens: Tokens | None, *, namespace: str = "", repeatable: bool = False
    ) -> None:
        # Not the base's own, which would open a session of another library.
        self.base_uri = transport.target.addresses[0]
        self.token = None
        self.namespace = namespace
        self.session = transport
        self.allow_redirects = True
        self.strict_http = False
        self.request_header = True
        self.ignore_exceptions = False
        self._kwargs: dict[str, Any] = {}
        self._transport = transport
        self._tokens = tokens
        self._repeatable = repeatable

    def client(self) -> hvac.Client:
        """Return hvac's client above this."""
        return hvac.Client(url=self.base_uri, token="", adapter=lambda **_: self)

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> dict[str, Any] | Reply:
        """Send a request of hvac's.

        Returns:
            The JSON object of an answer with status 200, else the answer itself, as hvac's own adapter does.

        Raises:
            RefusedError: The status is 400 or above.
            StrongroomError: There is no answer.
        """
        reply = self.send(
            method.upper(),
            url,
            headers=headers,
            content=options.get("json"),
            parameters=options.get("params"),
            wrap_ttl=options.get("wrap_ttl"),
            repeatable=options.get("repeatable"),
        )
        return reply.body if reply.status == 200 else reply

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Any = None,
        parameters: Mapping[str, Any] | None = None,
        wrap_ttl: str | None = None,
        timeout: float | None = None,
        repeatable: bool | None = None,
    ) -> Reply:
        """Send a request with a token, and once more if a new token may help.

        Args:
            method: The HTTP method, in capitals.
            url: From ``/v1/`` on; quoted.
            headers: Further headers.
            content: What to send, as JSON.
            parameters: The query.
            wrap_ttl: For how long the answer is to stay wrapped, such as ``60s``.
            timeout: How many seconds it may take, with all that is done for the token; the target's own unless given.
            repeatable: Whether this one may be sent twice; as its method is, and as this was made, unless given.

        Raises:
            RefusedError: The status is 400 or above.
            StrongroomError: There is no answer.
        """
        sent = {"X-Vault-Request": "true", **(headers or {})}
        if self.namespace:
            sent["X-Vault-Namespace"] = self.namespace
        if wrap_ttl:
            sent["X-Vault-Wrap-TTL"] = str(wrap_ttl)
        body = None if content is None else json.dumps(content).encode()
        path = "/" + url.lstrip("/") + (f"?{urlencode(parameters)}" if parameters else "")
        if repeatable is None:
            repeatable = self._repeatable or method in READS
        clock = self._transport.clock
        left = self._transport.target.timeout if timeout is None else timeout
        end, again, token = clock() + left, False, None
        try:
            while True:
                if self._tokens is not None:
                    sent["X-Vault-Token"] = token = self._tokens.current(left)
                    left = end - clock()
                    if left <= 0.0:
                        raise _late()
                reply = self._transport.send(method, path, headers=sent, body=body, repeatable=repeatable, timeout=left)
                if reply.status < 400:
                    return reply
                left = end - clock()
                if token is None or self._tokens is None or not self._tokens.cures(token, reply, left, again=again):
                    raise RefusedError(reply)
                left, again = end - clock(), True
        finally:
            # An error's traceback keeps this frame, and some programs print what is in it.
            sent = {}
            body = content = token = None

    def login(self, url: str, *_use_token: bool, **options: Any) -> dict[str, Any] | Reply:
        """Send a login; whoever asked for it takes the token out of the answer."""
        return self.request("post", url, **options)

    def get_login_token(self, response: dict[str, Any]) -> str:
        """Return the token of a login's answer."""
        return str(response["auth"]["client_token"])

    def close(self) -> None:
        """Do nothing: whoever made the transport closes it."""


def _late() -> BackendUnavailableError:
    return BackendUnavailableError(
        "logging in has left no time for the request", code="timeout", hint="try again, or allow more time"
    )
