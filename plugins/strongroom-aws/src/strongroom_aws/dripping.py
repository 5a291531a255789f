"""A limit to how long an answer may take to come: botocore's own is for each piece of it, however many there are."""

from __future__ import annotations

import os
import socket
import threading

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import get_environ_proxies
from urllib3 import exceptions

from strongroom_aws.pooling import keep_without_lock

_SENDING: Final = "before-send"
_CLOSING: Final = "strongroom-closing"
_PIECE: Final = 65_536
_OPTIONS: Final = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


class _Here(threading.local):
    """Tells whether it is too late for the answer that this thread waits for."""

    is_late: Callable[[], bool] | None = None


_HERE: Final = _Here()


@contextmanager
def unless(is_late: Callable[[], bool]) -> Iterator[None]:
    """Take no more of an answer in this thread, in the ``with`` block, once something says that it is too late."""
    before, _HERE.is_late = _HERE.is_late, is_late
    try:
        yield
    finally:
        _HERE.is_late = before


class _Whole:
    """An answer's content that has come already."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def bounded(client: Any, session: Session) -> Any:
    """Return a client that reads its answers a piece at a time, with a look at the time in between.

    It sends with an HTTP session of its own, which is set up as the client's own one.

    Args:
        client: One of botocore's.
        session: What it is made from.
    """
    config = client.meta.config
    proxies = config.proxies
    own = URLLib3Session(
        verify=session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE", True),
        proxies=get_environ_proxies(client.meta.endpoint_url) if proxies is None else proxies,
        proxies_config=config.proxies_config,
        timeout=(config.connect_timeout, config.read_timeout),
        max_pool_connections=config.max_pool_connections,
        socket_options=_OPTIONS,
        client_cert=config.client_cert,
    )
    keep_without_lock(own)
    client.meta.events.register(_SENDING, lambda request, **_: _sent(own, request))
    client.meta.events.register(_CLOSING, lambda **_: own.close())
    return client


def close(client: Any) -> None:
    """Close a client of :func:`bounded`."""
    client.meta.events.emit(_CLOSING)
    client.close()


def _sent(own: URLLib3Session, request: Any) -> AWSResponse:
    request.stream_output = True  # what has come is left to be read here
    response = own.send(request)
    try:
        content = b"".join(_pieces(response.raw))
    except (exceptions.ReadTimeoutError, TimeoutError) as error:
        raise ReadTimeoutError(endpoint_url=request.url, error=error) from None
    except (exceptions.HTTPError, OSError) as error:
        raise HTTPClientError(error=error) from None
    return AWSResponse(response.url, response.status_code, response.raw.headers, _Whole(content))


def _pieces(raw: Any) -> Iterator[bytes]:
    if not hasattr(raw, "read1"):
        yield from raw.stream()  # an older urllib3, which gives nothing before it has much
        return
    while piece := raw.read1(_PIECE):
        yield piece
        if _HERE.is_late is not None and _HERE.is_late():
            raw.close()
            raise TimeoutError
