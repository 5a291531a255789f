"""Encrypting and signing with a real transit engine."""

from __future__ import annotations

import base64

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strongroom

from engines import opened
from openbao import Server, free_port
from strongroom.contracts import (
    Backend,
    DataKeyRequest,
    DecryptRequest,
    EncryptRequest,
    ReadRequest,
    ReadResult,
    RewrapRequest,
    RotateKeyRequest,
    SignRequest,
    VerifySignatureRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    UnsupportedOperationError,
    ValueTooLargeError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import MemorySink, assert_hidden, marker_value, report_of
from strongroom.testing.backend_encrypting import (
    EncryptingChecks,
    data_key,
    decrypt,
    encrypt,
    rewrap,
    rotate,
    sign,
    verify,
)
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.replies import Reply
from strongroom_vault.settings import VaultSettings
from strongroom_vault.target import Target
from strongroom_vault.transit import MAX_REQUEST_BYTES, Transit
from strongroom_vault.transport import Transport
from transit_keys import TransitKeys, new_key

MOUNT = "keys/of the app"


class FixedToken:
    """A token that nothing cures."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self, limit: float) -> str:
        return self._token

    def cures(self, token: str, reply: Reply, limit: float, *, again: bool = False) -> bool:
        return False


class CountingTransport(Transport):
    """Notes each request: its path, and whether it may be sent twice."""

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(Target(addresses=(address,), **options))
        self.sent: list[tuple[str, bool]] = []

    def send(self, method: str, path: str, **options: Any) -> Reply:
        self.sent.append((path, options["repeatable"]))
        return super().send(method, path, **options)


class Keys(Transit, Backend):
    """The engine as a backend that has no secrets."""

    address = "transit"

    def __init__(self, address: str, token: str, mount: str = MOUNT, **options: Any) -> None:
        self.transport = CountingTransport(address, **options)
        tokens = FixedToken(token)
        adapters = [AskingAdapter(self.transport, tokens, repeatable=repeatable) for repeatable in (True, False)]
        Transit.__init__(self, *adapters, mount)

    def read(self, request: ReadRequest) -> ReadResult:
        raise SecretNotFoundError(f"there is no secret {request.name}")

    def after_fork(self) -> None:
        self.transport.after_fork()

    def close(self) -> None:
        self.transport.close()


@pytest.fixture(scope="module")
def engine(server: Server) -> Server:
    server.mount(MOUNT, "transit")
    return server


@pytest.fixture
def keys(engine: Server) -> Iterator[Keys]:
    made = Keys(engine.address, engine.token)
    yield made
    made.close()


@pytest.fixture
def make(engine: Server) -> Callable[..., SecretName]:
    """Return a function that makes a key of a type."""
    return partial(new_key, engine, mount=MOUNT)


class TestContract(TransitKeys, EncryptingChecks):
    """The kit's checks, at a mount with a slash and a blank."""

    transit = MOUNT

    @pytest.fixture
    def backend(self, keys: Keys) -> Keys:
        return keys


@pytest.mark.parametrize("type", ["aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), data=st.binary(max_size=40), other=st.binary(max_size=40))
def test_any_bytes_come_back_with_the_associated_data_they_were_bound_to(
    keys: Keys, make: Callable[..., SecretName], type: str, content: bytes, data: bytes, other: bytes
) -> None:
    key = _kept(keys, make, type)
    made = encrypt(keys, key, content, data)
    assert decrypt(keys, key, made.ciphertext, data) == content
    if other != data:
        with pytest.raises(TamperedError):
            decrypt(keys, key, made.ciphertext, other)


def _kept(keys: Keys, make: Callable[..., SecretName], type: str) -> SecretName:
    """Return one key for all examples of a test."""
    known = keys.__dict__.setdefault("made", {})
    return known[type] if type in known else known.setdefault(type, make(type))


@pytest.mark.parametrize("type", ["ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_each_type_that_signs_verifies_its_own_message_only(
    keys: Keys, make: Callable[..., SecretName], type: str
) -> None:
    key = make(type)
    signature = sign(keys, key, b"message")
    assert verify(keys, key, b"message", signature)
    assert not verify(keys, key, b"massage", signature)
    assert not verify(keys, key, b"message", "vault:v1:AAAA")
    assert not verify(keys, key, b"message", signature.replace("v1", "v2"))


def test_each_operation_is_one_request_and_only_a_rotation_must_not_be_sent_twice(
    keys: Keys, make: Callable[..., SecretName]
) -> None:
    key, signing = make(), make("ed25519")
    ciphertext = encrypt(keys, key, b"content", b"").ciphertext
    decrypt(keys, key, ciphertext)
    rewrap(keys, key, ciphertext)
    data_key(keys, key, 32)
    verify(keys, signing, b"message", sign(keys, signing, b"message"))
    rotate(keys, key)
    operations = ["encrypt", "decrypt", "rewrap", "datakey/plaintext", "sign", "verify", "keys"]
    assert [(path.removeprefix("/v1/keys/of%20the%20app/"), twice) for path, twice in keys.transport.sent] == [
        (f"{operation}/{signing if operation in ('sign', 'verify') else key}{'/rotate' * (not twice)}", twice)
        for operation, twice in zip(operations, [True] * 6 + [False], strict=True)
    ]


def test_results_name_the_request_and_the_version_of_the_key(keys: Keys, make: Callable[..., SecretName]) -> None:
    key, signing = make(), make("ed25519")
    assert rotate(keys, key).key_version == "2"
    made = encrypt(keys, key, b"content")
    found = keys.decrypt(DecryptRequest(key=key, ciphertext=made.ciphertext))
    again = keys.rewrap(RewrapRequest(key=key, ciphertext=made.ciphertext))
    wrapped = keys.data_key(DataKeyRequest(key=key))
    signed = keys.sign(SignRequest(key=signing, message=SecretValue(b"message")))
    checked = keys.verify_signature(
        VerifySignatureRequest(key=signing, message=SecretValue(b"message"), signature=signed.signature)
    )
    rotated = keys.rotate_key(RotateKeyRequest(key=signing))
    results = (made, found, again, wrapped, signed, checked, rotated)
    assert [result.key_version for result in results] == ["2", "2", "2", "2", "1", "1", "2"]
    ids = {result.request_id for result in results}
    assert len(ids) == len(results)
    assert all(isinstance(one, str) and len(one) == 36 for one in ids)


NAMES = ["app/key", "a b", "-a", "a-", ".a", "a.", "caf\u00e9", "a:b", "a+b", "a%2Fb", "a*", "\u0661"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_key_can_have_is_refused_before_anything_is_sent(keys: Keys, name: str) -> None:
    operations: list[Callable[[], object]] = [
        lambda: encrypt(keys, name, b"content"),
        lambda: decrypt(keys, name, "vault:v1:AAAA"),
        lambda: rewrap(keys, name, "vault:v1:AAAA"),
        lambda: sign(keys, name, b"message"),
        lambda: verify(keys, name, b"message", "vault:v1:AAAA"),
        lambda: data_key(keys, name, 32),
        lambda: rotate(keys, name),
    ]
    for operation in operations:
        with pytest.raises(InvalidNameError) as caught:
            operation()
        assert caught.value.name == name
    assert keys.transport.sent == []


@pytest.mark.parametrize("name", ["a", "A", "_", "a.b-c_d", "0", "a..b"])
def test_a_name_that_a_key_can_have_is_not_refused(keys: Keys, name: str) -> None:
    assert decrypt(keys, name, encrypt(keys, name, b"content").ciphertext) == b"content"


def test_other_spellings_of_a_ciphertext_which_the_server_would_take_are_refused(
    engine: Server, keys: Keys, make: Callable[..., SecretName]
) -> None:
    key = make()
    for content in (b"", b"1", b"12"):
        ciphertext = encrypt(keys, key, content).ciphertext
        body = ciphertext.removeprefix("vault:v1:")
        raw = base64.b64decode(body)
        spellings = [f"vault:v0:{body}", f"vault:v01:{body}", ciphertext + "\n", f"vault:v1:{body[:4]}\n{body[4:]}"]
        if body.endswith("="):
            loose = body.rstrip("=")
            other = loose[:-1] + chr(ord(loose[-1]) + 1) + "=" * (len(body) - len(loose))
            spellings += [f"vault:v1:{other}"] if base64.b64decode(other) == raw else []
        taken = 0
        for spelling in spellings:
            with pytest.raises(InvalidValueError):
                decrypt(keys, key, spelling)
            body_sent = {"ciphertext": spelling}
            taken += engine.call("POST", f"{MOUNT}/decrypt/{key}", body_sent)[0] == 200
        assert taken, "the server takes none of them any more: the check can go"


def test_a_ciphertext_with_associated_data_cannot_be_rewrapped(keys: Keys, make: Callable[..., SecretName]) -> None:
    key = make()
    ciphertext = encrypt(keys, key, b"content", b"row 1").ciphertext
    before = len(keys.transport.sent)
    with pytest.raises(UnsupportedOperationError, match="takes no associated data"):
        rewrap(keys, key, ciphertext, b"row 1")
    assert len(keys.transport.sent) == before


@pytest.mark.parametrize(
    ("type", "operation"),
    [
        ("aes256-gcm96", lambda keys, key: sign(keys, key, b"message")),
        ("aes256-gcm96", lambda keys, key: verify(keys, key, b"message", "vault:v1:AAAA")),
        ("ed25519", lambda keys, key: encrypt(keys, key, b"content")),
        ("ed25519", lambda keys, key: decrypt(keys, key, "vault:v1:AAAA")),
        ("ed25519", lambda keys, key: rewrap(keys, key, "vault:v1:AAAA")),
        ("ed25519", lambda keys, key: data_key(keys, key, 32)),
        ("rsa-2048", lambda keys, key: encrypt(keys, key, b"content", b"data")),
    ],
)
def test_what_a_key_of_its_type_cannot_do_is_unsupported(
    keys: Keys, make: Callable[..., SecretName], type: str, operation: Callable[[Keys, str], object]
) -> None:
    with pytest.raises(UnsupportedOperationError):
        operation(keys, make(type))


def test_a_key_with_derivation_is_unsupported(keys: Keys, make: Callable[..., SecretName]) -> None:
    with pytest.raises(UnsupportedOperationError):
        encrypt(keys, make(derived=True), b"content")


def test_a_version_that_the_key_does_not_use_any_more_is_not_found(
    engine: Server, keys: Keys, make: Callable[..., SecretName]
) -> None:
    key, signing = make(), make("ed25519")
    ciphertext, signature = encrypt(keys, key, b"content").ciphertext, sign(keys, signing, b"message")
    for name in (key, signing):
        rotate(keys, name)
        engine.ok("POST", f"{MOUNT}/keys/{name}/config", {"min_decryption_version": 2})
    operations: list[Callable[[], object]] = [
        lambda: decrypt(keys, key, ciphertext),
        lambda: rewrap(keys, key, ciphertext),
        lambda: verify(keys, signing, b"message", signature),
        lambda: decrypt(keys, key, ciphertext.replace("v1", "v9")),
    ]
    for operation in operations:
        with pytest.raises(SecretNotFoundError) as caught:
            operation()
        assert caught.value.code == "version_not_found"


def test_a_key_that_is_deleted_softly_is_told_apart(
    engine: Server, keys: Keys, make: Callable[..., SecretName]
) -> None:
    key = make()
    engine.ok("POST", f"{MOUNT}/keys/{key}/config", {"deletion_allowed": True})
    engine.ok("DELETE", f"{MOUNT}/keys/{key}/soft-delete")
    with pytest.raises(SecretDeletedError):
        encrypt(keys, key, b"content")


def test_who_may_only_update_uses_a_key_and_makes_none(engine: Server, make: Callable[..., SecretName]) -> None:
    operations = ("encrypt", "decrypt", "rewrap", "sign", "verify", "datakey/plaintext", "keys/+/rotate")
    paths = [f"{MOUNT}/{one}" + "/*" * ("keys" not in one) for one in operations]
    engine.policy("transit-user", "\n".join(f'path "{path}" {{ capabilities = ["update"] }}' for path in paths))
    keys = Keys(engine.address, engine.new_token("transit-user"))
    key, signing = make(), make("ed25519")
    ciphertext = encrypt(keys, key, b"content").ciphertext
    assert decrypt(keys, key, rewrap(keys, key, ciphertext).ciphertext) == b"content"
    assert verify(keys, signing, b"message", sign(keys, signing, b"message"))
    assert decrypt(keys, key, data_key(keys, key, 16).ciphertext)
    assert rotate(keys, key).key_version == "2"
    with pytest.raises(AccessDeniedError):
        encrypt(keys, "a-key-that-is-not-there", b"content")
    assert engine.call("GET", f"{MOUNT}/keys/a-key-that-is-not-there")[0] == 404


def test_a_denial_and_a_bad_token_are_told_apart(engine: Server, make: Callable[..., SecretName]) -> None:
    key = make()
    engine.policy("transit-nothing", 'path "nothing" { capabilities = ["read"] }')
    with pytest.raises(AccessDeniedError):
        encrypt(Keys(engine.address, engine.new_token("transit-nothing")), key, b"content")
    with pytest.raises(AuthenticationError):
        encrypt(Keys(engine.address, "s.no-such-token"), key, b"content")


def test_an_engine_that_is_not_there_is_no_missing_key(engine: Server) -> None:
    for mount in ("nowhere", "secret", "sys"):
        with pytest.raises(ConfigurationError) as caught:
            encrypt(Keys(engine.address, engine.token, mount), "key", b"content")
        assert "`transit`" in caught.value.hint
        assert "mount" not in caught.value.hint


def test_the_largest_plaintext_can_be_decrypted_and_one_byte_more_is_not_sent(
    keys: Keys, make: Callable[..., SecretName]
) -> None:
    key = make()
    with pytest.raises(ValueTooLargeError) as caught:
        encrypt(keys, key, bytes(MAX_REQUEST_BYTES))
    assert keys.transport.sent == []
    assert caught.value.size == MAX_REQUEST_BYTES
    limit = caught.value.limit
    largest = SecretValue(bytes(limit))
    made = keys.encrypt(EncryptRequest(key=key, plaintext=largest))
    assert keys.decrypt(DecryptRequest(key=key, ciphertext=made.ciphertext)).plaintext == largest
    with pytest.raises(ValueTooLargeError):
        encrypt(keys, key, bytes(limit + 1))
    with pytest.raises(ValueTooLargeError):
        encrypt(keys, key, bytes(limit), b"data")


def test_a_ciphertext_that_is_too_large_is_not_sent(keys: Keys) -> None:
    with pytest.raises(ValueTooLargeError):
        decrypt(keys, "key", "vault:v1:" + "A" * MAX_REQUEST_BYTES)
    assert keys.transport.sent == []


def test_the_engine_s_path_must_not_be_empty() -> None:
    assert "transit must not be empty" in VaultSettings(address="http://localhost", transit="/").problems()


def test_an_rsa_key_takes_no_more_than_its_size(keys: Keys, make: Callable[..., SecretName]) -> None:
    key = make("rsa-2048")
    with pytest.raises(ValueTooLargeError):
        encrypt(keys, key, bytes(1000))
    assert len(keys.transport.sent) == 1


def test_a_changed_ciphertext_of_an_rsa_key_is_no_outage(keys: Keys, make: Callable[..., SecretName]) -> None:
    """The server answers it with status 500."""
    key = make("rsa-2048")
    ciphertext = encrypt(keys, key, b"content").ciphertext
    assert decrypt(keys, key, ciphertext) == b"content"
    with pytest.raises(TamperedError):
        decrypt(keys, key, ciphertext[:-8] + "AAAAAAA=")


@pytest.mark.parametrize("status", [400, 403, 404, 412, 500, 503])
def test_no_plaintext_in_the_frames_of_an_error(vault: Any, status: int) -> None:
    vault.answer("POST", "/v1/", status=status, body={"errors": ["something else"]})
    _assert_hidden_in_failures(Keys(vault.address, "token", attempts=1))


def test_no_plaintext_in_the_frames_of_an_outage() -> None:
    _assert_hidden_in_failures(Keys(f"http://127.0.0.1:{free_port()}", "token", attempts=1), BackendUnavailableError)


def _assert_hidden_in_failures(keys: Keys, kind: type[StrongroomError] = StrongroomError) -> None:
    marker = marker_value()
    value = SecretValue(marker)
    attempts: list[Callable[[], object]] = [
        lambda: keys.encrypt(EncryptRequest(key=SecretName("key"), plaintext=value)),
        lambda: keys.sign(SignRequest(key=SecretName("key"), message=value)),
        lambda: keys.verify_signature(
            VerifySignatureRequest(key=SecretName("key"), message=value, signature="vault:v1:AAAA")
        ),
    ]
    for attempt in attempts:
        with pytest.raises(kind) as caught:
            attempt()
        for package in ("strongroom_vault", "hvac", "urllib3", "json"):
            assert_hidden(marker, report_of(caught.value, package), f"a frame of {package}")


@pytest.mark.parametrize("answer", [{}, {"data": {}}, {"data": {"plaintext": "*", "ciphertext": "x", "signature": 1}}])
def test_an_answer_of_another_form_is_an_error(vault: Any, answer: dict[str, Any]) -> None:
    vault.answer("POST", "/v1/", status=200, body=answer)
    keys = Keys(vault.address, "token")
    operations: list[Callable[[], object]] = [
        lambda: encrypt(keys, "key", b"content"),
        lambda: decrypt(keys, "key", "vault:v1:AAAA"),
        lambda: sign(keys, "key", b"message"),
        lambda: data_key(keys, "key", 32),
        lambda: verify(keys, "key", b"message", "vault:v1:AAAA"),
    ]
    for operation in operations:
        with pytest.raises(StrongroomError, match="not that of a transit engine"):
            operation()


def test_a_server_that_tells_no_version_after_a_rotation_is_believed(vault: Any) -> None:
    vault.answer("POST", "/v1/", status=204)
    assert rotate(Keys(vault.address, "token"), "key").key_version is None


def test_the_manager_records_what_the_server_says(engine: Server, make: Callable[..., SecretName]) -> None:
    key, signing, sink = make(), make("ed25519"), MemorySink()
    backend = opened(engine, "secret", transit=MOUNT)
    with strongroom.open({"audit": "none", "backend": "vault"}, backends={"vault": backend}, sinks=(sink,)) as manager:
        ciphertext = manager.encrypt(key, "content", associated_data=b"row")
        assert manager.decrypt(key, ciphertext, associated_data=b"row").reveal_text() == "content"
        assert manager.verify(signing, "message", manager.sign(signing, "message"))
        assert manager.rotate_key(key).version == "2"
        assert len(manager.data_key(key).plaintext) == 32
        with pytest.raises(TamperedError):
            manager.decrypt(key, ciphertext)
    uses = [event for event in sink.events if event.key in (key, signing) and event.phase == "outcome"]
    events = ["encrypt", "decrypt", "sign", "verify_signature", "rotate_key", "data_key", "decrypt"]
    assert [event.event for event in uses] == events
    assert [event.version for event in uses] == ["1", "1", "1", "1", "2", "2", None]
    assert [event.result for event in uses] == ["ok"] * 6 + ["tampered"]
    assert len({event.request_id for event in uses[:-1]}) == 6
