"""What settings must keep to, one sentence for each broken rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from strongroom_otel.settings import COMPRESSIONS, PROTOCOLS, SAMPLERS

if TYPE_CHECKING:
    from strongroom_otel.settings import CollectorSettings, OtelSettings

_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# What the protocol itself sets; another value would break it.
_RESERVED: Final = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding", "host", "te"})


def collector_problems(settings: CollectorSettings) -> list[str]:
    """Return what is wrong with where a collector is, and how it is to be reached.

    Args:
        settings: All of them; each has passed its own type check.
    """
    problem = endpoint_problem(settings.endpoint) if settings.endpoint is not None else ""
    rules = [
        (not problem, f"endpoint {problem}"),
        (_is_known(settings.protocol, PROTOCOLS), 'protocol must be "http/protobuf" or "grpc"'),
        (_is_known(settings.compression, COMPRESSIONS), 'compression must be "none" or "gzip"'),
        (settings.timeout is None or settings.timeout > 0, "timeout must be more than 0 seconds"),
        (settings.client_key is None or settings.client_cert is not None, "client_key is given without client_cert"),
        (settings.service_name != "", "service_name must not be empty"),
    ]
    rules += [(not header_problem(name), f"headers: {name!r} {header_problem(name)}") for name in settings.headers]
    return _broken(rules)


def exporter_problems(settings: OtelSettings) -> list[str]:
    """Return what is wrong with a collector's settings, and with what is sent there.

    Args:
        settings: All of them; each has passed its own type check.
    """
    takes_ratio = settings.sampler is None or settings.sampler.endswith("traceidratio")
    rules = [
        (_is_known(settings.sampler, SAMPLERS), f"sampler must be one of {', '.join(SAMPLERS)}"),
        (settings.ratio is None or 0 <= settings.ratio <= 1, "ratio must be from 0 to 1"),
        (settings.ratio is None or takes_ratio, "ratio is for the sampler traceidratio only"),
        (settings.metrics_every is None or settings.metrics_every > 0, "metrics_every must be more than 0 seconds"),
    ]
    return collector_problems(settings) + _broken(rules)


def endpoint_problem(url: str) -> str:
    """Return why a text is no collector's URL, as the rest of a sentence; empty if it is one."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "holds a blank, or a character that no URL can have"
    if parts.scheme not in {"http", "https"}:
        return "must begin with http:// or https://"
    if "@" in parts.netloc:
        return "has credentials in it: they belong into headers"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "has something after a ? or #"
    return "" if parts.hostname and port != 0 else "has no host, or the port 0"


def header_problem(name: str) -> str:
    """Return why a text cannot name a header of ours, as the rest of a sentence; empty if it can."""
    if not name or not _TOKEN.issuperset(name):
        return "is no name of a header"
    if name.lower() in _RESERVED or name.lower().startswith("grpc-"):
        return "is set by the protocol itself"
    return ""


def _is_known(value: str | None, known: tuple[str, ...]) -> bool:
    return value is None or value in known


def _broken(rules: Iterable[tuple[bool, str]]) -> list[str]:
    return [sentence for kept, sentence in rules if not kept]
