"""What is refused before anything is done: other sites, forwarded requests, and paths that are spelt oddly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strongroom_agent.answers import NOT_HERE, Answer, refusal
from strongroom_agent.callers import PEER, Scope

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED: Final = (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
ASKED_FOR: Final = b"x-strongroom-request"
_ONCE: Final = (b"host", b"origin", b"authorization", b"x-strongroom-token", b"content-type", b"cookie", ASKED_FOR)

MALFORMED: Final = refusal(400, "malformed", "a header comes twice that may come once")
WRONG_HOST: Final = refusal(
    421, "wrong_host", "the agent is not known by this name", "name it in `hosts`, or use localhost"
)
OTHER_SITE: Final = refusal(403, "other_site", "a page of another site may not ask for anything here")
WAS_FORWARDED: Final = refusal(
    400, "forwarded", "the request was forwarded", "the agent answers programs of this machine, without a proxy between"
)
NOT_ASKED_FOR: Final = refusal(
    400, "header_missing", "the header X-Strongroom-Request is missing", "send X-Strongroom-Request: true"
)


def headers_of(scope: Scope) -> dict[bytes, bytes] | None:
    """Return a request's headers by their names; nothing if one comes twice that must not.

    Args:
        scope: The request.
    """
    pairs = scope["headers"]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        names = [name for name, _ in pairs]
        if any(names.count(name) > 1 for name in _ONCE):
            return None
    return headers


def problem_of(scope: Scope, headers: Mapping[bytes, bytes], hosts: tuple[str, ...]) -> Answer | None:
    """Return the answer to a request that nobody of this machine means; nothing if it may go on.

    Args:
        scope: The request.
        headers: Its headers.
        hosts: By which names loopback may be called, beside its own.
    """
    if _is_odd(scope["raw_path"]):
        return NOT_HERE
    host = headers.get(b"host", b"").decode("latin-1").lower()
    # Who forwards a port to the socket, as `ssh -L` does, has browsers come there as well, and those send a name.
    needless = not host and PEER in scope.get("extensions", {})
    if not needless and not _is_ours(host, hosts):
        return WRONG_HOST
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").lower() != f"http://{host}":
        return OTHER_SITE
    return None


def problem_of_call(headers: Mapping[bytes, bytes]) -> Answer | None:
    """Return the answer to a call of the API that no program meant to make; nothing if one did.

    Args:
        headers: The request's headers.
    """
    if headers.get(ASKED_FOR, b"").lower() != b"true":
        return NOT_ASKED_FOR
    if any(name in headers for name in FORWARDED):
        return WAS_FORWARDED
    if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
        return OTHER_SITE
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        return refusal(415, "not_json", "the body is not said to be JSON", "send Content-Type: application/json")
    return None


def _is_ours(host: str, hosts: tuple[str, ...]) -> bool:
    name, colon, port = host.rpartition(":")
    # Of `[::1]` the last part is no port.
    if not colon or not (port.isascii() and port.isdigit()):
        name = host
    return name in LOOPBACK_NAMES or any(name == one.lower() for one in hosts)


def _is_odd(path: bytes) -> bool:
    """Tell whether a path is spelt so that somebody could take it for another one."""
    return b"%" in path or b"//" in path or b"\\" in path or b"/." in path or b";" in path or not path.isascii()
