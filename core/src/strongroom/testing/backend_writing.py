"""Checks of writing and deleting, and of refusing both where they are not offered."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability, ReadResult, WriteRequest, WriteResult
from strongroom.errors import InvalidValueError, SecretNotFoundError, UnsupportedOperationError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing.backend_kit import BackendKit, delete, new_token, read, text_of, versions_of, write
from strongroom.testing.doubles import FaultyBackend
from strongroom.testing.promises import promised_by

SANE_LIMIT = 8 * 1024 * 1024


class WritingChecks(BackendKit):
    """Checks of writing and deleting."""

    @promised_by(Backend.write)
    def test_an_overwrite_replaces_the_value(self, backend: Backend, folder: str) -> None:
        """After each write the next read returns what was written.

        A rest of the value before, or the value before itself, does not open anything any more.
        """
        self.need(Capability.WRITE)
        for content in ("first", "a much longer second", "3"):
            write(backend, f"{folder}/a", content)
            assert text_of(backend, f"{folder}/a") == content

    @promised_by(Backend.write)
    def test_an_overwrite_may_change_the_type(self, backend: Backend, folder: str) -> None:
        """After bytes were written over text, bytes are read, and the other way round.

        The type belongs to the value, and not to the name.
        """
        self.need(Capability.WRITE)
        self.need_binary()
        for content in ("text", b"bytes", "text again"):
            write(backend, f"{folder}/a", content)
            assert read(backend, f"{folder}/a").value == SecretValue(content)

    @promised_by(WriteResult)
    def test_a_write_states_the_version_that_is_read_next(self, backend: Backend, folder: str) -> None:
        """A write returns the version that the next read names.

        Otherwise a caller could not write conditionally without reading first.
        """
        self.need(Capability.WRITE)
        written = write(backend, f"{folder}/a", "content")
        assert read(backend, f"{folder}/a").version == written.version

    @promised_by(ReadResult)
    def test_each_write_makes_a_new_version(self, backend: Backend, folder: str) -> None:
        """Versions of a name never repeat; without ``VERSIONS`` not for other content at least.

        A conditional write would overwrite a change that came in between.
        """
        self.need(Capability.WRITE)
        counted = Capability.VERSIONS in self.capabilities
        contents = ["same"] * 4 if counted else [f"content {number}" for number in range(4)]
        made = [write(backend, f"{folder}/a", content).version for content in contents]
        assert len(set(made)) == 4, f"writes of one name share a version: {made}"

    @promised_by(Backend.write)
    def test_a_write_keeps_its_own_copy(self, backend: Backend, folder: str) -> None:
        """What a caller does to its buffer after the write changes nothing that is stored.

        Careful callers overwrite the buffer as soon as they need it no more.
        """
        self.need(Capability.WRITE)
        self.need_binary()
        buffer = bytearray(b"content")
        backend.write(WriteRequest(name=SecretName(f"{folder}/a"), value=SecretValue(buffer)))
        buffer[:] = b"CHANGED"
        assert read(backend, f"{folder}/a").value.reveal() == b"content"

    @promised_by(WriteRequest)
    def test_a_write_with_a_token_is_a_write_like_any_other(self, backend: Backend, folder: str) -> None:
        """Writes with different tokens are both made, in a backend that knows nothing of tokens, too.

        The core gives each write that it may have to repeat a token.
        """
        self.need(Capability.WRITE)
        for content in ("first", "second"):
            request = WriteRequest(name=SecretName(f"{folder}/a"), value=SecretValue(content), token=new_token())
            written = backend.write(request)
            found = read(backend, f"{folder}/a")
            assert (found.value, found.version) == (request.value, written.version)

    @promised_by(WriteRequest)
    def test_a_write_that_is_sent_twice_leaves_its_value(self, backend: Backend, folder: str) -> None:
        """A write that is sent twice leaves its value, in one version or in two of the same value.

        After an answer that was lost on the way the core sends it again.
        """
        self.need(Capability.WRITE)
        request = WriteRequest(name=SecretName(f"{folder}/a"), value=SecretValue("content"), token=new_token())
        first, second = backend.write(request), backend.write(request)
        found = read(backend, f"{folder}/a")
        assert (found.value, found.version) == (request.value, second.version)
        if Capability.VERSIONS in self.capabilities:
            listed = [one.version for one in versions_of(backend, f"{folder}/a")]
            assert sorted(listed) == sorted({first.version, second.version})

    @promised_by(Backend.delete)
    def test_deleting_what_is_absent_is_silent(self, backend: Backend, folder: str) -> None:
        """Deleting a secret that is not there raises nothing, and says that there was none.

        The wished-for state is there already.
        """
        self.need(Capability.WRITE)
        assert delete(backend, f"{folder}/missing").existed is False

    @promised_by(Backend.read)
    def test_a_deleted_secret_is_not_read(self, backend: Backend, folder: str) -> None:
        """A deleted secret raises ``SecretNotFoundError`` or ``SecretDeletedError``.

        Whoever deletes a value that has leaked relies on nobody getting it any more.
        """
        self.need(Capability.WRITE)
        write(backend, f"{folder}/a", "content")
        assert delete(backend, f"{folder}/a").existed is True
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a")

    @promised_by(Backend.delete)
    def test_deleting_twice_is_silent(self, backend: Backend, folder: str) -> None:
        """Deleting a second time raises nothing, and says that there was none.

        Whoever does not know whether the first attempt arrived may repeat it.
        """
        self.need(Capability.WRITE)
        write(backend, f"{folder}/a", "content")
        delete(backend, f"{folder}/a")
        assert delete(backend, f"{folder}/a").existed is False

    @pytest.mark.parametrize("victim", ["a", "a/b", "ab", "a/b/c"])
    @promised_by(Backend.delete)
    def test_a_delete_spares_its_neighbours(self, backend: Backend, folder: str, victim: str) -> None:
        """Deleting ``a`` leaves ``a/b`` and ``ab`` as they are, and the other way round.

        A secret that goes with another one is missed only when it is needed.
        """
        self.need(Capability.WRITE)
        tails = ["a", "a/b", "ab", "a/bc", "a/b/c"]
        for tail in tails:
            write(backend, f"{folder}/{tail}", f"content of {tail}")
        delete(backend, f"{folder}/{victim}")
        spared = [tail for tail in tails if tail != victim]
        for tail in spared:
            assert text_of(backend, f"{folder}/{tail}") == f"content of {tail}"

    @promised_by(Backend.write)
    def test_a_write_after_a_delete_makes_a_new_secret(self, backend: Backend, folder: str) -> None:
        """A write after a delete makes the secret anew with a new version, or is refused as such.

        A version that comes back would let a write through that has not seen the delete.
        """
        self.need(Capability.WRITE)
        before = [write(backend, f"{folder}/a", content).version for content in ("first", "second")]
        delete(backend, f"{folder}/a")
        if self.refused_over_deleted(backend, f"{folder}/a"):
            return
        anew = write(backend, f"{folder}/a", "third").version
        assert text_of(backend, f"{folder}/a") == "third"
        assert anew not in before, "a version was used again after a delete"

    @promised_by(Backend)
    def test_a_value_over_the_limit_is_refused_before_the_call(
        self, guard: GuardedBackend, spy: FaultyBackend, folder: str
    ) -> None:
        """One byte over ``max_value_bytes``, in UTF-8, raises ``ValueTooLargeError`` before the backend is called.

        A service might cut the value, and the old value would be lost with it.
        """
        self.need(Capability.WRITE)
        limit = _limit_of(guard)
        write(guard, f"{folder}/a", "old")
        spy.calls.clear()
        with pytest.raises(ValueTooLargeError) as caught:
            write(guard, f"{folder}/a", "x" * (limit - 1) + "\u00e9")
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
        assert spy.calls == [], "the core called the backend with a value that is too large"
        assert text_of(guard, f"{folder}/a") == "old"

    @promised_by(Backend)
    def test_a_value_at_the_limit_is_kept(self, guard: GuardedBackend, folder: str) -> None:
        """A value of exactly ``max_value_bytes``, in UTF-8, is kept.

        The core lets it through, since the backend states that it holds so much.
        """
        self.need(Capability.WRITE)
        content = "x" * (_limit_of(guard) - 2) + "\u00e9"
        write(guard, f"{folder}/a", content)
        assert text_of(guard, f"{folder}/a") == content

    @promised_by(Backend)
    def test_an_empty_value_is_refused_before_the_call(
        self, guard: GuardedBackend, spy: FaultyBackend, folder: str
    ) -> None:
        """With ``accepts_empty`` false an empty value raises ``InvalidValueError`` before the backend is called.

        A service that cannot hold it might turn it into something else.
        """
        self.need(Capability.WRITE)
        if guard.accepts_empty:
            # That it comes back is checked where reading is.
            pytest.skip("the backend holds empty values")
        with pytest.raises(InvalidValueError):
            write(guard, f"{folder}/a", "")
        assert spy.calls == [], "the core called the backend with an empty value"

    @promised_by(Backend.write)
    def test_writing_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """A backend without ``WRITE`` raises ``UnsupportedOperationError`` when it is asked to write.

        Leaving a capability out must hide nothing: what is not declared is not checked either.
        """
        self.need_missing(Capability.WRITE)
        with pytest.raises(UnsupportedOperationError):
            write(backend, f"{folder}/a", "content")

    @promised_by(Backend.delete)
    def test_deleting_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """A backend without ``WRITE`` raises ``UnsupportedOperationError`` when it is asked to delete.

        Leaving a capability out must hide nothing: what is not declared is not checked either.
        """
        self.need_missing(Capability.WRITE)
        with pytest.raises(UnsupportedOperationError):
            delete(backend, f"{folder}/a")


def _limit_of(backend: Backend) -> int:
    limit = backend.max_value_bytes
    if limit is None or limit > SANE_LIMIT:
        # To reach a limit of megabytes would take a test longer than it tells.
        pytest.skip("the backend states no limit that a test could reach")
    return limit
