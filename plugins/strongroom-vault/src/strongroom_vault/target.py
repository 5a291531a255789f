"""Where the server is and how it is reached: the settings, completed from the environment."""

from __future__ import annotations

import os

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from strongroom.contracts import Record
from strongroom.errors import ConfigurationError
from strongroom_vault import environment as env
from strongroom_vault.settings import ServerSettings, TLSSettings, without_password

SCHEMES: Final = ("http", "https", "unix")
DEFAULT_TIMEOUT: Final = 60.0
DEFAULT_ATTEMPTS: Final = 3


class Trust(Record):
    """How the server is known, and how it knows us, each setting decided."""

    verify: bool = True
    """Whether only a server with a certificate that we trust will do."""
    ca_text: str | None = None
    """The certificates of the authorities to trust, in PEM; the system's if none of the three is given."""
    ca_file: str | None = None
    ca_folder: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None


class Target(Record):
    """What is needed to reach the server, each setting decided."""

    addresses: tuple[str, ...]
    """URLs without a final slash; the first one is tried first."""
    namespace: str = ""
    """Without slashes around it; empty for the root."""
    tls: Trust = Trust()
    proxy: str | None = None
    """The proxy's URL; empty for none; ``None`` for what the standard variables say."""
    reads: str = "any"
    timeout: float = DEFAULT_TIMEOUT
    """How many seconds one request may take over all its attempts."""
    connect_timeout: float = 5.0
    attempts: int = DEFAULT_ATTEMPTS
    connections: int = 16
    rate_limit: float | None = None
    """Requests a second."""
    burst: int = 1
    """How many of them may come at once."""
    redirects: bool = True

    def __repr__(self) -> str:
        return without_password(super().__repr__(), self.proxy)


def resolve(settings: ServerSettings, environment: Mapping[str, str] | None = None) -> Target:
    """Complete the settings from ``BAO_*`` and ``VAULT_*``; what the configuration says wins.

    Args:
        settings: What the configuration says.
        environment: The variables; the process's own unless given.

    Raises:
        ConfigurationError: No address is given, or a variable is not usable.
    """
    variables = env.Variables(os.environ if environment is None else environment)
    if variables.parsed("SRV_LOOKUP", env.flag):
        raise ConfigurationError(
            f"the variable {variables.name('SRV_LOOKUP')} asks for SRV records, which are not supported",
            hint="unset it and give the address with its port",
        )
    retries = variables.parsed("MAX_RETRIES", env.whole_number)
    limit = _rate(settings, variables)
    redirects = settings.redirects
    if redirects is None:
        redirects = not variables.parsed("DISABLE_REDIRECTS", env.flag)
    namespace = settings.namespace if settings.namespace is not None else variables.text("NAMESPACE")
    return Target(
        addresses=_addresses(settings, variables),
        namespace=plain_namespace(namespace or ""),
        tls=_trust(settings.tls, variables),
        proxy=_proxy(settings, variables),
        reads=settings.reads,
        timeout=settings.timeout or variables.parsed("CLIENT_TIMEOUT", env.seconds) or DEFAULT_TIMEOUT,
        connect_timeout=settings.connect_timeout,
        attempts=settings.attempts or (DEFAULT_ATTEMPTS if retries is None else retries + 1),
        connections=settings.connections,
        rate_limit=limit[0] if limit else None,
        burst=limit[1] if limit else 1,
        redirects=redirects,
    )


def plain_namespace(text: str) -> str:
    """Return a namespace without slashes around it; empty for each spelling of the root."""
    plain = text.strip("/")
    return "" if plain == "root" else plain


def address_problem(text: str) -> str:
    """Return what is wrong with the URL of a server; empty if nothing is."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in SCHEMES or not (parts.path.strip("/") if parts.scheme == "unix" else parts.hostname):
        return "must be a URL such as https://vault.example.com:8200"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password"
    if parts.scheme == "unix" and parts.netloc:
        return "must hold the whole path of the socket, after three slashes"
    if parts.query or parts.fragment or port == 0 or not text.isprintable() or " " in text:
        return "must be a URL without query, fragment or blanks"
    return ""


def _addresses(settings: ServerSettings, variables: env.Variables) -> tuple[str, ...]:
    if settings.address:
        given = (settings.address,) if isinstance(settings.address, str) else settings.address
        return tuple(dict.fromkeys(address.rstrip("/") for address in given))
    for variable in ("AGENT_ADDR", "ADDR"):
        text = variables.text(variable)
        if text is not None:
            problem = address_problem(text)
            if problem:
                raise ConfigurationError(f"the variable {variables.name(variable)} {problem}")
            return (text.rstrip("/"),)
    name = variables.name("ADDR")
    raise ConfigurationError(
        "no address of a Vault or OpenBao is given" + (f"; the variable {name} is set, and empty" if name else ""),
        hint="set `address` of the backend, or the variable BAO_ADDR or VAULT_ADDR",
    )


def _trust(given: TLSSettings, variables: env.Variables) -> Trust:
    """Decide each group of settings as a whole, so that a variable never adds to, or undoes, what is configured."""
    own_authority = given.ca_file is not None or given.ca_folder is not None
    authority = {"ca_file": given.ca_file, "ca_folder": given.ca_folder}
    if not own_authority:
        authority = {
            "ca_text": variables.text("CACERT_BYTES"),
            "ca_file": variables.text("CACERT"),
            "ca_folder": variables.text("CAPATH"),
        }
    verify = given.verify
    if verify is None:
        verify = own_authority or not variables.parsed("SKIP_VERIFY", env.flag)
    identity = (given.client_cert, given.client_key)
    if identity == (None, None):
        identity = (variables.text("CLIENT_CERT"), variables.text("CLIENT_KEY"))
    if identity[1] is not None and identity[0] is None:
        raise ConfigurationError("a client key is given without its certificate", hint="set client_cert, too")
    return Trust(
        verify=verify,
        client_cert=identity[0],
        client_key=identity[1],
        server_name=given.server_name or variables.text("TLS_SERVER_NAME"),
        **authority,
    )


def _proxy(settings: ServerSettings, variables: env.Variables) -> str | None:
    if settings.proxy is not None:
        return settings.proxy
    for variable in ("PROXY_ADDR", "HTTP_PROXY"):
        text = variables.text(variable)
        if text is not None:
            if proxy_problem(text):
                raise ConfigurationError(f"the variable {variables.name(variable)} {proxy_problem(text)}")
            return text
    return None


def proxy_problem(text: str) -> str:
    """Return what is wrong with the URL of a proxy; empty if nothing is."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    return "" if usable else "must be a URL such as http://proxy.example.com:3128"


def _rate(settings: ServerSettings, variables: env.Variables) -> tuple[float, int] | None:
    if settings.rate_limit is not None:
        return settings.rate_limit, max(1, int(settings.rate_limit))
    return variables.parsed("RATE_LIMIT", env.rate)
