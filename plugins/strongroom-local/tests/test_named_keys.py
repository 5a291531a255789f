"""Named keys encrypt and sign, and what they make is taken back exactly or refused."""

from __future__ import annotations

import base64
import random
import shutil

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.contracts import (
    DataKeyRequest,
    DecryptRequest,
    EncryptRequest,
    VerifySignatureRequest,
)
from strongroom.errors import (
    InvalidValueError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    ValueTooLargeError,
)
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom.testing import marker_value
from strongroom_local import messages, named_keys

KEY = "app/orders"
OTHER = "app/letters"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(content=st.binary(max_size=300), data=st.binary(max_size=100), other=st.binary(max_size=100))
def test_any_content_comes_back_with_its_associated_data_and_with_no_other(keys, content, data, other):
    ciphertext = keys.encrypt(KEY, content, data)
    assert keys.decrypt(KEY, ciphertext, data) == content
    if other != data:
        with pytest.raises(TamperedError):
            keys.decrypt(KEY, ciphertext, other)


def test_associated_data_may_be_long_and_each_byte_of_it_counts(keys):
    """Longer than a length of two bytes can say."""
    data = random.randbytes(100_000)
    ciphertext = keys.encrypt(KEY, b"content", data)
    assert keys.decrypt(KEY, ciphertext, data) == b"content"
    for changed in (data[:-1], data + b"\0", data[:70_000] + b"\0" * 30_000, b"", b"\0" + data):
        with pytest.raises(TamperedError):
            keys.decrypt(KEY, ciphertext, changed)


def test_every_bit_of_a_ciphertext_counts(keys):
    ciphertext = keys.encrypt(KEY, b"content", b"row 1")
    start, content = ciphertext[: len("local:v1:")], base64.b64decode(ciphertext[len("local:v1:") :])
    assert start == "local:v1:"
    for position in range(len(content) * 8):
        changed = bytearray(content)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(TamperedError):
            keys.decrypt(KEY, start + base64.b64encode(changed).decode(), b"row 1")


def test_every_bit_of_a_signature_counts(keys):
    signature = keys.sign(KEY, b"message")
    start, content = signature[: len("local:v1:")], base64.b64decode(signature[len("local:v1:") :])
    assert keys.verify(KEY, b"message", signature)
    for position in range(len(content) * 8):
        changed = bytearray(content)
        changed[position // 8] ^= 1 << position % 8
        assert not keys.verify(KEY, b"message", start + base64.b64encode(changed).decode())


def spellings(text: str) -> list[str]:
    """Return other ways to write a text of ours, which lenient readers take for the same."""
    version, content = text.removeprefix("local:v").split(":")
    return [
        text.upper(),
        text.replace("local", "Local"),
        f"local:v0{version}:{content}",
        f"local:v+{version}:{content}",
        f"local:v\u0661:{content}",
        f"local:v{version} :{content}",
        f"local:v0:{content}",
        f"local:v-1:{content}",
        f"local:v:{content}",
        f"local:v{'9' * 5000}:{content}",
        f"local:{version}:{content}",
        f"vault:v{version}:{content}",
        f"local:v{version}:{content.rstrip('=')}",
        f"local:v{version}:{content}=",
        f"local:v{version}:{content}====",
        f"local:v{version}:={content}",
        f"local:v{version}:{content[:4]}\n{content[4:]}",
        f"local:v{version}:{content[:4]} {content[4:]}",
        f"local:v{version}:{content[:4]}={content[4:]}",
        f" {text}",
        f"{text}\n",
        f"{text}:",
        f"local:v{version}::{content}",
        f"local:v{version}:",
        f"local:v{version}:AAAA",
    ]


def test_another_spelling_of_a_ciphertext_is_refused(keys):
    """So that one content has one text, whatever compares or looks up ciphertexts."""
    ciphertext = keys.encrypt(KEY, b"content")
    for text in spellings(ciphertext):
        with pytest.raises(InvalidValueError):
            keys.decrypt(KEY, text)
        with pytest.raises(InvalidValueError):
            keys.rewrap(KEY, text)
    assert keys.decrypt(KEY, ciphertext) == b"content"


def test_bits_that_base64_does_not_use_must_be_as_we_write_them(keys):
    ciphertext, signature = keys.encrypt(KEY, b"x"), keys.sign(KEY, b"message")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for text in (ciphertext, signature):
        assert text.endswith("==")
        at = len(text) - 3
        number = letters.index(text[at])
        other = text[:at] + letters[number + 1] + text[at + 1 :]
        assert base64.b64decode(other.split(":")[2]) == base64.b64decode(text.split(":")[2])
        assert not keys.verify(KEY, b"message", other)
        with pytest.raises(InvalidValueError):
            keys.decrypt(KEY, other)


def test_another_spelling_of_a_signature_is_not_authentic(keys):
    signature = keys.sign(KEY, b"message")
    assert not any(keys.verify(KEY, b"message", text) for text in spellings(signature))
    assert keys.verify(KEY, b"message", signature)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(text=st.text(max_size=40) | st.text(alphabet="local:v123=+/AB", max_size=40).map(lambda text: "local:v" + text))
def test_no_text_is_taken_for_a_ciphertext_or_a_signature(keys, text):
    keys.sign(KEY, b"message")
    assert not keys.verify(KEY, b"message", text)
    with pytest.raises(InvalidValueError):
        keys.decrypt(KEY, text)


def test_a_ciphertext_of_another_name_version_or_store_is_not_authentic(keys, tmp_path, store):
    place = tmp_path / "other"
    place.mkdir(mode=0o700)
    other = type(store)(place)
    shutil.copy2(store.key_path, other.key_path)
    other.create()
    elsewhere = other.open().keys
    ciphertext, signature = keys.encrypt(KEY, b"content"), keys.sign(KEY, b"message")
    for place, key in ((keys, OTHER), (elsewhere, KEY)):
        place.encrypt(key, b"content")
        with pytest.raises(TamperedError):
            place.decrypt(key, ciphertext)
        assert not place.verify(key, b"message", signature)
    keys.rotate(KEY)
    with pytest.raises(TamperedError):
        keys.decrypt(KEY, ciphertext.replace("local:v1:", "local:v2:"))
    assert not keys.verify(KEY, b"message", signature.replace("local:v1:", "local:v2:"))
    other.close()


def test_one_plaintext_never_gives_the_same_bytes_twice(keys):
    """Each message has its own salt, and so its own key, and its own IV."""
    made = [base64.b64decode(keys.encrypt(KEY, b"the same").split(":")[2]) for _ in range(500)]
    for part in (slice(0, 32), slice(32, 44), slice(44, None)):
        assert len({content[part] for content in made}) == 500


def test_versions_are_used_as_they_come_and_all_stay(keys):
    texts = []
    for version in range(1, 8):
        result = keys.backend.encrypt(EncryptRequest(key=SecretName(KEY), plaintext=SecretValue(f"content {version}")))
        texts.append((result.ciphertext, keys.sign(KEY, b"%d" % version)))
        assert result.key_version == str(version)
        assert all(text.startswith(f"local:v{version}:") for text in texts[-1])
        assert keys.rotate(KEY) == str(version + 1)
    for version, (ciphertext, signature) in enumerate(texts, start=1):
        found = keys.backend.decrypt(DecryptRequest(key=SecretName(KEY), ciphertext=ciphertext))
        assert (found.plaintext.reveal(), found.key_version) == (f"content {version}".encode(), str(version))
        request = VerifySignatureRequest(key=SecretName(KEY), message=SecretValue(b"%d" % version), signature=signature)
        answer = keys.backend.verify_signature(request)
        assert (answer.valid, answer.key_version) == (True, str(version))
        assert keys.rewrap(KEY, ciphertext).startswith("local:v8:")
    assert keys.problems() == ()


def test_a_version_that_was_never_made_is_not_found(keys):
    ciphertext = keys.encrypt(KEY, b"content")
    with pytest.raises(SecretNotFoundError) as caught:
        keys.decrypt(KEY, ciphertext.replace("v1", "v2"))
    assert caught.value.code == "version_not_found"
    assert caught.value.name == KEY


def test_what_comes_back_are_bytes_even_of_text(keys):
    """As from every other backend with named keys."""
    request = DecryptRequest(key=SecretName(KEY), ciphertext=keys.encrypt(KEY, "grüße"))
    plaintext = keys.backend.decrypt(request).plaintext
    assert plaintext.type is ValueType.BINARY
    assert plaintext.reveal_text() == "grüße"


def test_a_plaintext_has_the_limit_of_a_secret(keys):
    limit = keys.backend.max_value_bytes
    content = bytes(limit)
    assert keys.decrypt(KEY, keys.encrypt(KEY, content)) == content
    with pytest.raises(ValueTooLargeError):
        keys.encrypt(OTHER, bytes(limit + 1))
    with pytest.raises(SecretNotFoundError):
        keys.rotate(OTHER)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_data_key_is_random_and_decrypts(keys, size):
    made = [keys.backend.data_key(DataKeyRequest(key=SecretName(KEY), size=size)) for _ in range(3)]
    plain = [one.plaintext.reveal() for one in made]
    assert [len(content) for content in plain] == [size] * 3
    assert len(set(plain)) == 3
    assert [keys.decrypt(KEY, one.ciphertext) for one in made] == plain


@pytest.mark.parametrize("size", [-1, 0, 15, 17, 24, 65])
def test_a_refused_data_key_makes_no_named_key(keys, size):
    with pytest.raises(InvalidValueError):
        keys.backend.data_key(DataKeyRequest(key=SecretName(KEY), size=size))
    with pytest.raises(SecretNotFoundError):
        keys.rotate(KEY)


def test_no_error_shows_what_was_to_be_encrypted(keys, monkeypatch):
    """Nor what was passed on as a ciphertext by mistake."""
    marker = marker_value()
    monkeypatch.setattr(named_keys, "MAX_PLAINTEXT_BYTES", 8)
    for act in (
        lambda: keys.encrypt(KEY, marker),
        lambda: keys.decrypt(KEY, marker),
        lambda: keys.rewrap(KEY, marker),
    ):
        with pytest.raises(StrongroomError) as caught:
            act()
        assert marker not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


def test_a_ciphertext_longer_than_any_is_refused_before_it_is_decoded(keys, monkeypatch):
    keys.encrypt(KEY, b"content")
    monkeypatch.setattr(messages.binascii, "a2b_base64", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(InvalidValueError):
        keys.decrypt(KEY, "local:v1:" + "A" * (24 * 1024 * 1024))
