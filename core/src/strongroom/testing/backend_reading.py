"""Checks of reading: what comes back is exactly what was put there, or a telling error."""

from __future__ import annotations

import hashlib

import pytest

from strongroom.contracts import Backend, Capability, ReadManyRequest, ReadManyResult, ReadResult
from strongroom.errors import SecretDeletedError, SecretNotFoundError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom.testing.backend_kit import BackendKit, Seed, read, text_of
from strongroom.testing.promises import promised_by

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

    @promised_by(Backend.read)
    def test_reading_a_missing_secret_raises(self, backend: Backend, folder: str) -> None:
        """A name that never was raises ``SecretNotFoundError``, and not ``SecretDeletedError``.

        Only this error lets a chain of backends go on to the next one, and it is no outage for which a copy stands in.
        """
        with pytest.raises(SecretNotFoundError) as caught:
            read(backend, f"{folder}/missing")
        assert not isinstance(caught.value, SecretDeletedError), "a secret that never was is reported as deleted"

    @promised_by(Backend.read)
    def test_the_error_for_a_missing_secret_names_it(self, backend: Backend, folder: str) -> None:
        """The text of the error for a missing secret holds its name.

        Whoever reads the error in a log must see which name was misspelt.
        """
        with pytest.raises(SecretNotFoundError) as caught:
            read(backend, f"{folder}/missing")
        assert f"{folder}/missing" in str(caught.value), "the error's text does not hold the name that was asked for"

    @promised_by(Backend.read)
    def test_a_folder_is_not_a_secret(self, backend: Backend, seed: Seed, folder: str) -> None:
        """With only ``a/b`` there, reading ``a`` raises ``SecretNotFoundError``.

        A folder is only a part of names, and has no value that could be returned.
        """
        seed(f"{folder}/a/b", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a")

    @promised_by(Backend.read)
    def test_a_secret_is_not_a_folder(self, backend: Backend, seed: Seed, folder: str) -> None:
        """With only ``a`` there, reading ``a/b`` raises ``SecretNotFoundError``.

        A part of a secret that has fields of its own is not another secret.
        """
        seed(f"{folder}/a", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a/b")

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    @promised_by(Backend.read)
    def test_a_text_comes_back_exactly(self, backend: Backend, seed: Seed, folder: str, text: str) -> None:
        """A text comes back with every character: nothing is trimmed, replaced, normalised or converted.

        A password without its last blank is another password, and does not open anything.
        """
        name = seed(f"{folder}/text", text)
        assert text_of(backend, name) == text

    @promised_by(ReadResult)
    def test_text_comes_back_as_text(self, backend: Backend, seed: Seed, folder: str) -> None:
        """What was written as text comes back as text.

        The type is part of the value; applications that ask for the text would get an error.
        """
        name = seed(f"{folder}/text", "content")
        assert read(backend, name).value.type is ValueType.TEXT

    @promised_by(ReadResult)
    def test_bytes_come_back_as_bytes(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Bytes come back as bytes, where they could be read as text, too.

        The type is part of the value, and must not depend on what happens to be in it.
        """
        self.need_binary()
        name = seed(f"{folder}/bytes", b"content")
        value = read(backend, name).value
        assert value.reveal() == b"content"
        assert value.type is ValueType.BINARY, "bytes came back as text"

    @promised_by(Backend.read)
    def test_every_byte_value_comes_back(self, backend: Backend, seed: Seed, folder: str) -> None:
        """All 256 byte values come back, NUL and what is not UTF-8 among them.

        Keys and key stores are bytes; with one of them changed they are of no use.
        """
        self.need_binary()
        content = bytes(range(256))
        name = seed(f"{folder}/bytes", content)
        returned = read(backend, name).value.reveal()
        assert hashlib.sha256(returned).hexdigest() == hashlib.sha256(content).hexdigest()

    @promised_by(Backend)
    def test_an_empty_text_is_a_value(self, backend: Backend, seed: Seed, folder: str) -> None:
        """An empty text comes back as an empty text, unless ``accepts_empty`` is false.

        Empty is not missing: some passwords are empty on purpose.
        """
        if not backend.accepts_empty:
            # Refusing an empty value is checked where writing is.
            pytest.skip("the backend states accepts_empty = False")
        name = seed(f"{folder}/empty", "")
        value = read(backend, name).value
        assert len(value) == 0
        assert value.type is ValueType.TEXT, "an empty text came back as bytes"

    @promised_by(Backend)
    def test_a_large_value_comes_back(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A text of 64 KiB, or of ``max_value_bytes`` if that is less, comes back whole.

        Chains of certificates and key stores are that large, and a cut one fails far from here.
        """
        size = min(LARGE, backend.max_value_bytes or LARGE)
        content = ("0123456789abcdef" * (size // 16 + 1))[:size]
        name = seed(f"{folder}/large", content)
        returned = text_of(backend, name)
        assert len(returned) == size
        assert returned == content, "a large value came back with its size but not its content"

    @promised_by(ReadResult)
    def test_a_read_states_its_version(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A read has a version, a text that is not empty and the same until the next write.

        By it a change is noticed and a conditional write is made.
        """
        name = seed(f"{folder}/a", "content")
        version = read(backend, name).version
        assert isinstance(version, str)
        assert version
        assert read(backend, name).version == version, "the version changed although nothing was written"

    @promised_by(ReadResult)
    def test_a_read_gives_a_time_with_offset(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The time of writing is ``None`` or has its offset from UTC.

        A time without offset is another moment on another host.
        """
        created = read(backend, seed(f"{folder}/a", "content")).created
        assert created is None or created.tzinfo is not None, "created has no offset"

    @promised_by(ReadManyResult)
    def test_reading_many_answers_each_name(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Each name that was asked for is found or has an error of its own.

        One missing secret must not keep a program from the others.
        """
        here = [seed(f"{folder}/{number}", f"content {number}") for number in range(3)]
        missing = SecretName(f"{folder}/missing")
        result = backend.read_many(ReadManyRequest(names=(*here, missing)))
        assert {name: answer.value.reveal_text() for name, answer in result.found.items()} == {
            name: f"content {number}" for number, name in enumerate(here)
        }
        assert set(result.errors) == {missing}
        assert isinstance(result.errors[missing], SecretNotFoundError)

    @promised_by(Backend.read_many)
    def test_a_batch_is_read_by_a_method_of_its_own(self, backend: Backend) -> None:
        """A backend that declares ``BATCH`` overrides ``read_many``, and takes one name at least.

        The inherited one makes a call for each name, which is what a batch is to spare.
        """
        self.need(Capability.BATCH)
        assert type(backend).read_many is not Backend.read_many, "BATCH is declared, but read_many is not overridden"
        assert backend.batch_size >= 1

    @promised_by(ReadManyResult)
    def test_a_batch_answers_each_name_once(self, backend: Backend, seed: Seed, folder: str) -> None:
        """In a full batch with every second name missing, each is found or has its own error.

        A name that is in neither is one that nobody can say anything of.
        """
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

    @promised_by(ReadResult)
    def test_a_batch_gives_the_versions_that_single_reads_give(self, backend: Backend, seed: Seed, folder: str) -> None:
        """In the answer of a batch each secret has the version that a read of it names.

        A cache that was filled in one way would look changed when it is read in the other.
        """
        self.need(Capability.BATCH)
        names = tuple(seed(f"{folder}/same/{number}", "content") for number in range(min(backend.batch_size, 3)))
        found = backend.read_many(ReadManyRequest(names=names)).found
        assert {name: answer.version for name, answer in found.items()} == {
            name: read(backend, name).version for name in names
        }

    @promised_by(Backend.read_many)
    def test_a_batch_of_nothing_is_empty(self, backend: Backend) -> None:
        """A batch without names has neither answers nor errors.

        Services refuse an empty request; the caller is not to know that.
        """
        self.need(Capability.BATCH)
        result = backend.read_many(ReadManyRequest(names=()))
        assert (result.found, result.errors) == ({}, {})

    @promised_by(Backend.read)
    def test_what_was_read_does_not_change(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A value that was read stays what it was, whatever is written later.

        Callers and the cache keep it, and it must not change under their hands.
        """
        name = seed(f"{folder}/a", "first")
        kept = read(backend, name).value
        seed(name, "second")
        assert kept == SecretValue("first")
        assert text_of(backend, name) == "second"
