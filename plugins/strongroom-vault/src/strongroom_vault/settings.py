"""What a configuration may say under ``[backends.*]`` and ``[rotation.*]`` with what this distribution offers."""

from __future__ import annotations

from typing import Any, Final

from strongroom.contracts import FilePath, KeySource, Record, Seconds, Size

METHODS: Final = ("token", "approle", "userpass", "jwt", "kubernetes", "cert", "aws")
DETECT: Final = "detect"
FORMATS: Final = ("json", "pem")


class AuthSettings(Record):
    """How to log in. Each method reads the fields that it names; any other is a mistake."""

    method: str = "token"
    """``token``, ``approle``, ``userpass``, ``jwt``, ``kubernetes``, ``cert`` or ``aws``."""
    mount: str | None = None
    """Where the method is mounted; under its own name unless given."""
    namespace: str | None = None
    """The namespace of that mount; the backend's own unless given."""
    token: KeySource | None = None
    """``token``: the token. Without it: ``BAO_TOKEN``, ``VAULT_TOKEN``, the token helper, the token file."""
    role_id: KeySource | None = None
    """``approle``."""
    secret_id: KeySource | None = None
    """``approle``; not needed for a role without one."""
    wrapped: bool = False
    """``approle``: whether ``secret_id`` is a wrapping token, which is unwrapped once."""
    username: str | None = None
    """``userpass``."""
    password: KeySource | None = None
    """``userpass``."""
    role: str | None = None
    """``jwt``, ``kubernetes``, ``cert`` and ``aws``: the role to log in for."""
    jwt: KeySource | None = None
    """``jwt`` and ``kubernetes``: the token to show, read anew at each login. Kubernetes knows where its own is."""
    header: str | None = None
    """``aws``: the value of ``X-Vault-AWS-IAM-Server-ID``, if the server asks for it."""
    region: str | None = None
    """``aws``: the region whose STS is named in the signed request."""
    sts_endpoint: str | None = None
    """``aws``: the URL of that STS, if it is not the usual one."""
    renew: bool = False
    """``token``: whether it is renewed. One that was got by logging in always is, if the server lets it."""
    revoke: bool = True
    """Whether a token that was got by logging in is revoked when the manager is closed."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_vault.rules import auth_problems  # most commands never configure a Vault

        return auth_problems(self)


class TLSSettings(Record):
    """How the server is known, and how it knows us. What is given here wins over any variable."""

    verify: bool | None = None
    """False accepts any server, and warns; true unless a variable says otherwise."""
    ca_file: FilePath | None = None
    """The certificates of the authorities to trust, in PEM; in place of the system's."""
    ca_folder: FilePath | None = None
    """A folder of such files; ``ca_file`` wins."""
    client_cert: FilePath | None = None
    """Our own certificate, in PEM."""
    client_key: FilePath | None = None
    """Its key; in the certificate's file unless given."""
    server_name: str | None = None
    """What the server's certificate must be made out to; the address's host unless given."""


class ServerSettings(Record):
    """Where a Vault or OpenBao is. Whatever is not given is looked for in ``BAO_*``, then in ``VAULT_*``."""

    address: str | tuple[str, ...] | None = None
    """The server's URL, or several of one cluster, of which any may be asked; ``BAO_ADDR`` or ``VAULT_ADDR``."""
    namespace: str | None = None
    """The namespace; empty, ``/`` and ``root`` are the root."""
    auth: AuthSettings = AuthSettings()
    """How to log in: a table with ``method`` and what that needs."""
    tls: TLSSettings = TLSSettings()
    """How the server is known, and how it knows us."""
    proxy: str | None = None
    """The URL of a proxy; empty for none whatever the variables say."""
    reads: str = "any"
    """``any`` node of a cluster, or only the ``active`` one. Either way a read shows whatever this process has
    written; what others have written, any node but the active one shows some milliseconds late."""
    timeout: Seconds | None = None
    """How long one request may take over all its attempts, with all that is done for the token; 60 s."""
    connect_timeout: Seconds = 5.0
    """How long connecting to a server may take, TLS included. Looking its name up comes before that, and takes as long
    as the system's resolver lets it."""
    attempts: int | None = None
    """How often a request is sent at most; 3."""
    connections: int = 16
    """How many idle connections are kept for each address."""
    rate_limit: float | None = None
    """How many requests a second are sent at most."""
    redirects: bool | None = None
    """Whether a node may send us on to another one; yes, unless a variable says otherwise."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_vault.rules import server_problems  # most commands never configure a Vault

        return server_problems(self)

    def __repr__(self) -> str:
        return without_password(super().__repr__(), self.proxy)


class VaultSettings(ServerSettings):
    """The settings of the backend ``vault``, beside those of its server."""

    mount: str = "secret"
    """The path of the key-value engine; it may have slashes."""
    kv_version: int | str = 2
    """1, 2, or ``"detect"``, which asks the server once."""
    prefix: str = ""
    """Whole segments that stand before each name inside the engine."""
    value_key: str = "value"
    """The field that holds a secret which is one value."""
    fields: tuple[str, ...] = ()
    """Patterns of names, each a JSON object, whose members are fields of the engine rather than one text."""
    max_value: Size = 512 * 1024
    """The largest value that is sent; the server's own limit is usually 1 MiB for all that is stored."""
    dynamic: tuple[str, ...] = ()
    """Patterns of names that are paths of the server, such as ``database/creds/*``: each read makes a credential."""
    parameters: dict[str, Any] = {}  # noqa: RUF012  # a default, which nobody changes
    """By pattern of such a name: what is sent with the request, such as ``common_name`` for ``pki/issue/*``."""
    transit: str = "transit"
    """The path of the engine for encrypting and signing."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_vault.rules import problems  # most commands never configure a Vault

        return problems(self)


class PkiSettings(ServerSettings):
    """The settings of the rotator ``vault-pki``, beside those of its server."""

    role: str
    """The role of the PKI engine that says what may be issued."""
    mount: str = "pki"
    """The path of the engine; it may have slashes."""
    common_name: str | None = None
    """The certificate's common name, which is one of its names, too, unless the role says otherwise."""
    alt_names: tuple[str, ...] = ()
    """Further DNS names."""
    ip_sans: tuple[str, ...] = ()
    """The IP addresses that it is for."""
    ttl: Seconds | None = None
    """How long it lives, if the role allows that; as long as the role says unless given."""
    format: str = "json"
    """``json`` for an object with ``certificate``, ``private_key``, ``chain``, ``not_before``, ``not_after`` and
    ``serial``; ``pem`` for key, certificate and chain in one text."""
    revoke_former: bool = True
    """Whether the former certificate is revoked once the overlap is over."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_vault.rules import pki_problems  # most commands never configure a Vault

        return pki_problems(self)


def without_password(text: str, url: str | None) -> str:
    """Return a text without the user and password of a proxy that it shows.

    Args:
        text: The text.
        url: The proxy's URL, if there is one.
    """
    before, at, _ = (url or "").rpartition("@")
    return text.replace(before + at, before.partition("://")[0] + "://...@") if at else text
