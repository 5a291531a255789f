"""Checks of reading: what comes back is exactly what was put there, or a telling error."""

from __future__ import annotations

import hashlib

import pytest

from strongroom.contracts import Backend, Capability, ReadManyRequest
from strongroom.errors import SecretDeletedError, SecretNotFoundError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom.testing.backend_kit import BackendKit, Seed, read, text_of

TEXTS = {
    "plain": "s3cret",
    "one blank": " ",
    "blanks around": "  padded\t",
    "line feed at the end": "line\n",
    "carriage return and line feed": "line\r\n",
    "only a line feed": "\n",
    "several lines": "-----BEGIN KEY-----\nMIIB\n\nAAA=\n-----END KEY-----\n",
    "unicode": "p\u00e4ssw\u00f6rd \u65e5\u672c \U0001f511",
    "decomposed": "e\u0301",
    "shell": "()\"';@ \\ $HOME ${HOME} `id` #!",
    "percent": "%s %(x)s %2F %",
    "backslashes": "\\n \\t \\\\ \\",
    "json": '{"user": "a", "list": [1, null]}',
    "number": "007",
    "word for nothing": "null",
    "leading dash": "-rf",
}
LARGE = 65_536


class ReadingChecks(BackendKit):
    """Checks of reading; they run for read-only backends, too."""

    def test_reading_a_missing_secret_raises(self, backend: Backend, folder: str) -> None:
        """A name that never was is 'not found', told apart from 'deleted' and from an outage."""
        with pytest.raises(SecretNotFoundError) as caught:
            read(backend, f"{folder}/missing")
        assert not isinstance(caught.value, SecretDeletedError), "a secret that never was is reported as deleted"

    def test_the_error_for_a_missing_secret_names_it(self, backend: Backend, folder: str) -> None:
        """Whoever reads the error must see which name is meant."""
        with pytest.raises(SecretNotFoundError) as caught:
            read(backend, f"{folder}/missing")
        assert f"{folder}/missing" in str(caught.value), "the error's text does not hold the name that was asked for"

    def test_a_folder_is_not_a_secret(self, backend: Backend, seed: Seed, folder: str) -> None:
        """With only ``a/b`` there, ``a`` is not found."""
        seed(f"{folder}/a/b", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a")

    def test_a_secret_is_not_a_folder(self, backend: Backend, seed: Seed, folder: str) -> None:
        """With only ``a`` there, ``a/b`` is not found."""
        seed(f"{folder}/a", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a/b")

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_a_text_comes_back_exactly(self, backend: Backend, seed: Seed, folder: str, text: str) -> None:
        """Nothing is trimmed, interpolated, normalised or guessed to be another type."""
        name = seed(f"{folder}/text", text)
        assert text_of(backend, name) == text

    def test_text_comes_back_as_text(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The type is part of the value."""
        name = seed(f"{folder}/text", "content")
        assert read(backend, name).value.type is ValueType.TEXT

    def test_bytes_come_back_as_bytes(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Bytes stay bytes even where they could be read as text."""
        self.need_binary()
        name = seed(f"{folder}/bytes", b"content")
        value = read(backend, name).value
        assert value.reveal() == b"content"
        assert value.type is ValueType.BINARY, "bytes came back as text"

    def test_every_byte_value_comes_back(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A key file's checksum must not change, NUL and invalid UTF-8 included."""
        self.need_binary()
        content = bytes(range(256))
        name = seed(f"{folder}/bytes", content)
        returned = read(backend, name).value.reveal()
        assert hashlib.sha256(returned).hexdigest() == hashlib.sha256(content).hexdigest()

    def test_an_empty_text_is_a_value(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Empty is not missing: it comes back as an empty text."""
        if not backend.accepts_empty:
            # Refusing an empty value is checked where writing is.
            pytest.skip("the backend states accepts_empty = False")
        name = seed(f"{folder}/empty", "")
        value = read(backend, name).value
        assert len(value) == 0
        assert value.type is ValueType.TEXT, "an empty text came back as bytes"

    def test_a_large_value_comes_back(self, backend: Backend, seed: Seed, folder: str) -> None:
        """64 KiB, or the most that the backend states, is within what it must hold."""
        size = min(LARGE, backend.max_value_bytes or LARGE)
        content = ("0123456789abcdef" * (size // 16 + 1))[:size]
        name = seed(f"{folder}/large", content)
        returned = text_of(backend, name)
        assert len(returned) == size
        assert returned == content, "a large value came back with its size but not its content"

    def test_a_read_states_its_version(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The version is a non-empty text, and reading again without a write gives the same."""
        name = seed(f"{folder}/a", "content")
        version = read(backend, name).version
        assert isinstance(version, str)
        assert version
        assert read(backend, name).version == version, "the version changed although nothing was written"

    def test_a_read_gives_a_time_with_offset(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A time without offset would be another moment on another host; ``None`` is allowed."""
        created = read(backend, seed(f"{folder}/a", "content")).created
        assert created is None or created.tzinfo is not None, "created has no offset"

    def test_reading_many_answers_each_name(self, backend: Backend, seed: Seed, folder: str) -> None:
        """One missing name does not spoil the others, and gets an error of its own."""
        here = [seed(f"{folder}/{number}", f"content {number}") for number in range(3)]
        missing = SecretName(f"{folder}/missing")
        result = backend.read_many(ReadManyRequest(names=(*here, missing)))
        assert {name: answer.value.reveal_text() for name, answer in result.found.items()} == {
            name: f"content {number}" for number, name in enumerate(here)
        }
        assert set(result.errors) == {missing}
        assert isinstance(result.errors[missing], SecretNotFoundError)

    def test_a_batch_is_read_by_a_method_of_its_own(self, backend: Backend) -> None:
        """Whoever declares ``BATCH`` overrides ``read_many``: the inherited one is a call for each name."""
        self.need(Capability.BATCH)
        assert type(backend).read_many is not Backend.read_many, "BATCH is declared, but read_many is not overridden"
        assert backend.batch_size >= 1

    def test_a_batch_answers_each_name_once(self, backend: Backend, seed: Seed, folder: str) -> None:
        """As many names as it takes at once, every second one missing: each is found or has its own error."""
        self.need(Capability.BATCH)
        names = [SecretName(f"{folder}/batch/{number}") for number in range(min(backend.batch_size, 20))]
        for name in names[::2]:
            seed(name, f"content of {name}")
        result = backend.read_many(ReadManyRequest(names=tuple(names)))
        assert {name: answer.value.reveal_text() for name, answer in result.found.items()} == {
            name: f"content of {name}" for name in names[::2]
        }
        assert set(result.errors) == set(names[1::2])
        assert {error.name for error in result.errors.values()} <= {None, *names[1::2]}, "an error names another secret"

    def test_a_batch_gives_the_versions_that_single_reads_give(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Otherwise a cache filled by one way would look changed by the other."""
        self.need(Capability.BATCH)
        names = tuple(seed(f"{folder}/same/{number}", "content") for number in range(min(backend.batch_size, 3)))
        found = backend.read_many(ReadManyRequest(names=names)).found
        assert {name: answer.version for name, answer in found.items()} == {
            name: read(backend, name).version for name in names
        }

    def test_a_batch_of_nothing_is_empty(self, backend: Backend) -> None:
        """No names, no answer, no error."""
        self.need(Capability.BATCH)
        result = backend.read_many(ReadManyRequest(names=()))
        assert (result.found, result.errors) == ({}, {})

    def test_what_was_read_does_not_change(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A caller keeps what it was given, whatever is written later."""
        name = seed(f"{folder}/a", "first")
        kept = read(backend, name).value
        seed(name, "second")
        assert kept == SecretValue("first")
        assert text_of(backend, name) == "second"
