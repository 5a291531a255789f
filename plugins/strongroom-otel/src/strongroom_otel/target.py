"""Where one kind of data goes, as settings and variables say together."""

from __future__ import annotations

import os

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from strongroom.contracts import KeySource, Record
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue
from strongroom_otel.rules import endpoint_problem, header_problem
from strongroom_otel.settings import COMPRESSIONS, PROTOCOLS

if TYPE_CHECKING:
    from strongroom_otel.settings import CollectorSettings

GRPC: Final = "grpc"
SECONDS: Final = 10.0
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
# OpenTelemetry counts in milliseconds and its Python SDK in seconds; nobody means a quarter of an hour.
_MILLISECONDS: Final = 1000.0


class _FromVariable(KeySource):
    """A header's content that a variable of OpenTelemetry's holds."""

    def __init__(self, text: str) -> None:
        self._value = SecretValue(text)

    def read(self) -> SecretValue:
        return self._value

    def describe(self) -> str:
        return "a variable"


class Target(Record):
    """Where one kind of data goes, and how."""

    signal: str
    """``traces``, ``metrics`` or ``logs``."""
    protocol: str
    is_secure: bool
    """Whether TLS is spoken."""
    host: str
    port: int
    path: str
    """For HTTP."""
    headers: Mapping[str, KeySource]
    compression: str
    seconds: float
    ca_file: str | None
    client_cert: str | None
    client_key: str | None

    def __str__(self) -> str:
        """Return the collector's address, without anything secret."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def read_headers(self) -> dict[str, str]:
        """Return the headers as they are now, their names in small letters.

        Raises:
            ConfigurationError: One is not there, or cannot stand in a header.
        """
        return {name: _content(name, source) for name, source in self.headers.items()}


def target(settings: CollectorSettings, signal: str, *, seconds: float = SECONDS) -> Target:
    """Return where data of one kind goes.

    Args:
        settings: Win over the variables.
        signal: ``traces``, ``metrics`` or ``logs``.
        seconds: How long a delivery may take if nothing says so.

    Raises:
        ConfigurationError: A variable is not usable.
    """
    protocol = _choice(settings.protocol, signal, "PROTOCOL", PROTOCOLS) or PROTOCOLS[0]
    is_secure, host, port, path = _place(settings, signal, protocol)
    return Target(
        signal=signal,
        protocol=protocol,
        is_secure=is_secure,
        host=host,
        port=port,
        path=path,
        headers=_headers(settings, signal),
        compression=_choice(settings.compression, signal, "COMPRESSION", COMPRESSIONS) or COMPRESSIONS[0],
        seconds=settings.timeout or _seconds(signal) or seconds,
        ca_file=settings.ca_file or variable(signal, "CERTIFICATE"),
        client_cert=settings.client_cert or variable(signal, "CLIENT_CERTIFICATE"),
        # A key of the settings goes with their certificate, one of the variables with theirs.
        client_key=settings.client_key
        or (None if settings.client_cert is not None else variable(signal, "CLIENT_KEY")),
    )


def variable(signal: str, name: str) -> str | None:
    """Return what the variables say for one kind of data, or for all of them; ``None`` if nothing."""
    return os.environ.get(f"{_PREFIX}{signal.upper()}_{name}") or os.environ.get(f"{_PREFIX}{name}") or None


def resource(settings: CollectorSettings) -> dict[str, str]:
    """Return the facts about the process that everything sent is marked with."""
    found = {"service.name": "strongroom"}
    found |= _pairs(os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    if name := os.environ.get("OTEL_SERVICE_NAME"):
        found["service.name"] = name
    found |= settings.resource
    return found | ({"service.name": settings.service_name} if settings.service_name else {})


def _place(settings: CollectorSettings, signal: str, protocol: str) -> tuple[bool, str, int, str]:
    """Return whether it is TLS, host, port and path."""
    own = os.environ.get(f"{_PREFIX}{signal.upper()}_ENDPOINT") if settings.endpoint is None else None
    url = settings.endpoint or own or os.environ.get(f"{_PREFIX}ENDPOINT")
    if not url:
        return False, "localhost", 4317 if protocol == GRPC else 4318, f"/v1/{signal}"
    if settings.endpoint is None:
        url = _with_scheme(url.strip(), signal, protocol)
        if problem := endpoint_problem(url):
            raise ConfigurationError(
                f"{_PREFIX}{signal.upper() + '_' if own else ''}ENDPOINT {problem}",
                hint="expected a URL such as http://localhost:4318",
            )
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    # The variable of one kind of data names the whole path, all others what stands before the usual one.
    path = parts.path or "/" if own else f"{parts.path.rstrip('/')}/v1/{signal}"
    port = parts.port or ((4317 if protocol == GRPC else 443) if is_secure else (4317 if protocol == GRPC else 80))
    return is_secure, parts.hostname or "", port, path


def _with_scheme(url: str, signal: str, protocol: str) -> str:
    """Return a variable's URL with its scheme: for gRPC it may be host and port only."""
    if protocol != GRPC or "://" in url:
        return url
    return f"{'http' if (variable(signal, 'INSECURE') or '').lower() == 'true' else 'https'}://{url}"


def _choice(given: str | None, signal: str, name: str, known: tuple[str, ...]) -> str | None:
    found = given or (variable(signal, name) or "").strip().lower()
    if found and found not in known:
        raise ConfigurationError(
            f"{_PREFIX}{name}, or its form for {signal}, is not usable", hint=f"expected {' or '.join(known)}"
        )
    return found or None


def _seconds(signal: str) -> float | None:
    text = variable(signal, "TIMEOUT")
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ConfigurationError(f"{_PREFIX}TIMEOUT, or its form for {signal}, is no number of seconds")
    return found / 1000 if found >= _MILLISECONDS else found


def _headers(settings: CollectorSettings, signal: str) -> dict[str, KeySource]:
    found: dict[str, KeySource] = {}
    for name, value in _pairs(variable(signal, "HEADERS") or "").items():
        if problem := header_problem(name):
            raise ConfigurationError(f"{_PREFIX}HEADERS, or its form for {signal}: {name!r} {problem}")
        found[name.lower()] = _FromVariable(value)
    return found | {name.lower(): source for name, source in settings.headers.items()}


def _pairs(text: str) -> dict[str, str]:
    """Return the pairs of a variable such as ``a=b,c=d%20e``; what is no pair is passed over."""
    parts = (part.partition("=") for part in text.split(","))
    return {unquote(key.strip()): unquote(value.strip()) for key, sign, value in parts if sign and key.strip()}


def _content(name: str, source: KeySource) -> str:
    text = source.read().reveal_text()
    if not text.isascii() or not text.isprintable():
        raise ConfigurationError(
            f"the header {name!r} holds what cannot stand in a header", hint=f"it comes from {source.describe()}"
        )
    return text
