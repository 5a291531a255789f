"""The backend: a Vault or OpenBao."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from strongroom.contracts import (
    AnnotateRequest,
    AnnotateResult,
    Backend,
    Capability,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    DataKeyRequest,
    DataKeyResult,
    DecryptRequest,
    DecryptResult,
    DeleteRequest,
    DeleteResult,
    DescribeRequest,
    DescribeResult,
    Describing,
    DestroyRequest,
    DestroyResult,
    Encrypting,
    EncryptRequest,
    EncryptResult,
    Health,
    Leasing,
    ListRequest,
    ListResult,
    ReadRequest,
    ReadResult,
    Recoverable,
    ReleaseLeaseRequest,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
    RewrapRequest,
    RotateKeyRequest,
    RotateKeyResult,
    SignRequest,
    SignResult,
    UndeleteRequest,
    UndeleteResult,
    VerifySignatureRequest,
    VerifySignatureResult,
    VersionPolling,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.model import SecretName
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.dynamic import Dynamic
from strongroom_vault.health import Examination
from strongroom_vault.kv import KeyValue
from strongroom_vault.paths import quoted
from strongroom_vault.polling import current_versions
from strongroom_vault.settings import VaultSettings
from strongroom_vault.target import Target, resolve
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transit import Transit
from strongroom_vault.transport import Transport


class VaultBackend(Backend, Recoverable, Describing, Leasing, Encrypting, VersionPolling):
    """Keeps secrets in a Vault or OpenBao. ``open`` is the way to get one.

    It puts parts together, each of which does one thing over the same connections
    and with the same token: the key-value engine, leased credentials, named keys and the examination of health.

    Args:
        settings: Its settings.
        transport: The way to the server.
    """

    keeps_deadlines = True

    def __init__(self, settings: VaultSettings, transport: Transport) -> None:
        self.address = _address(settings, transport.target)
        self.max_value_bytes = settings.max_value
        self._transport = transport
        self._tokens = TokenKeeper.open(settings.auth, transport)
        adapter = AskingAdapter(transport, self._tokens, namespace=transport.target.namespace)
        self._secrets = KeyValue(adapter, settings)
        self._dynamic = Dynamic(adapter, self._tokens, settings.dynamic, settings.parameters)
        repeating = AskingAdapter(transport, self._tokens, namespace=transport.target.namespace, repeatable=True)
        self._transit = Transit(repeating, adapter, settings.transit)
        self._examination = Examination(adapter, transport, self._tokens, settings)

    @classmethod
    def open(cls, settings: VaultSettings) -> Self:
        """Make one; nothing is sent before it is needed."""
        return cls(settings, Transport(resolve(settings)))

    @property
    def capabilities(self) -> frozenset[Capability] | None:  # type: ignore[override]  # it may become known later
        """What the engine for secrets can do; ``None`` until its version is known."""
        return self._secrets.capabilities

    @property
    def versions_are_shared(self) -> bool:
        """Not by the first version of the engine, for which each process makes its own; see ``VersionPolling``."""
        return self._secrets.capabilities is None or Capability.VERSIONS in self._secrets.capabilities

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret, or have a credential made; see ``Backend.read``."""
        return self._dynamic.read(request) if self.is_leased(request.name) else self._secrets.read(request)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""
        return self._secrets.write(request)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret; see ``Backend.delete``."""
        return self._secrets.delete(request)

    def list(self, request: ListRequest) -> ListResult:
        """Return names; see ``Backend.list``."""
        return self._secrets.list(request)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions of a secret; see ``Backend.versions``."""
        return self._secrets.versions(request)

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return current versions, with a request for each name; see ``VersionPolling.current_versions``."""
        return current_versions(self._secrets, [name for name in request.names if not self.is_leased(name)])

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a deleted version back; see ``Recoverable.undelete``."""
        return self._secrets.undelete(request)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions for good; see ``Recoverable.destroy``."""
        return self._secrets.destroy(request)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is noted about a secret; see ``Describing.describe``."""
        return self._secrets.describe(request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace what is noted about a secret; see ``Describing.annotate``."""
        return self._secrets.annotate(request)

    def is_leased(self, name: SecretName) -> bool:
        """Tell whether a read of this name makes a credential; see ``Leasing.is_leased``."""
        return self._dynamic.is_leased(name)

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        """Let a lease live longer; see ``Leasing.renew_lease``."""
        return self._dynamic.renew_lease(request)

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a lease; see ``Leasing.revoke_lease``."""
        return self._dynamic.revoke_lease(request)

    def encrypt(self, request: EncryptRequest) -> EncryptResult:
        """Encrypt a value; see ``Encrypting.encrypt``."""
        return self._transit.encrypt(request)

    def decrypt(self, request: DecryptRequest) -> DecryptResult:
        """Decrypt a ciphertext; see ``Encrypting.decrypt``."""
        return self._transit.decrypt(request)

    def rewrap(self, request: RewrapRequest) -> EncryptResult:
        """Encrypt a ciphertext anew; see ``Encrypting.rewrap``."""
        return self._transit.rewrap(request)

    def sign(self, request: SignRequest) -> SignResult:
        """Sign a message; see ``Encrypting.sign``."""
        return self._transit.sign(request)

    def verify_signature(self, request: VerifySignatureRequest) -> VerifySignatureResult:
        """Tell whether a signature is authentic; see ``Encrypting.verify_signature``."""
        return self._transit.verify_signature(request)

    def data_key(self, request: DataKeyRequest) -> DataKeyResult:
        """Make a data key; see ``Encrypting.data_key``."""
        return self._transit.data_key(request)

    def rotate_key(self, request: RotateKeyRequest) -> RotateKeyResult:
        """Make a new version of a key; see ``Encrypting.rotate_key``."""
        return self._transit.rotate_key(request)

    def release_lease(self, request: ReleaseLeaseRequest) -> None:  # noqa: ARG002  # one is as good as another
        """Keep the token that a lease hangs on; see ``Leasing.release_lease``."""
        self._tokens.keep()

    def health(self) -> Health:
        """Say how the server is, whether our token is good and whether the engine can be reached."""
        return self._examination.health()

    def after_fork(self) -> None:
        """Use connections, locks and a token of its own in a forked child."""
        self._transport.after_fork()
        self._tokens.after_fork()
        self._secrets.after_fork()
        self._dynamic.after_fork()

    def close(self) -> None:
        """Give the token back and close the connections."""
        self._tokens.close()
        self._transport.close()


def _address(settings: VaultSettings, target: Target) -> str:
    """Return what tells this engine's secrets from another's; a URL may hold a password, which is left out."""
    servers = sorted(_without_credentials(address) for address in target.addresses)
    # Quoted, since a colon may be in any of them.
    where = [quoted(path) for path in (target.namespace, settings.mount.strip("/"), settings.prefix.strip("/"))]
    return ":".join(["vault", ",".join(servers), *where])


def _without_credentials(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
