"""Checks of writing and deleting, and of refusing both where they are not offered."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability, WriteRequest
from strongroom.errors import InvalidValueError, SecretNotFoundError, UnsupportedOperationError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing.backend_kit import BackendKit, delete, new_token, read, text_of, versions_of, write
from strongroom.testing.doubles import FaultyBackend

SANE_LIMIT = 8 * 1024 * 1024


class WritingChecks(BackendKit):
    """Checks of writing and deleting."""

    def test_an_overwrite_replaces_the_value(self, backend: Backend, folder: str) -> None:
        """The next read sees what was written last."""
        self.need(Capability.WRITE)
        for content in ("first", "a much longer second", "3"):
            write(backend, f"{folder}/a", content)
            assert text_of(backend, f"{folder}/a") == content

    def test_an_overwrite_may_change_the_type(self, backend: Backend, folder: str) -> None:
        """Bytes over text are bytes, and the other way round."""
        self.need(Capability.WRITE)
        self.need_binary()
        for content in ("text", b"bytes", "text again"):
            write(backend, f"{folder}/a", content)
            assert read(backend, f"{folder}/a").value == SecretValue(content)

    def test_a_write_states_the_version_that_is_read_next(self, backend: Backend, folder: str) -> None:
        """Otherwise a caller could not write conditionally without reading first."""
        self.need(Capability.WRITE)
        written = write(backend, f"{folder}/a", "content")
        assert read(backend, f"{folder}/a").version == written.version

    def test_each_write_makes_a_new_version(self, backend: Backend, folder: str) -> None:
        """Versions never repeat, not even for the same content; without VERSIONS for other content at least."""
        self.need(Capability.WRITE)
        counted = Capability.VERSIONS in self.capabilities
        contents = ["same"] * 4 if counted else [f"content {number}" for number in range(4)]
        made = [write(backend, f"{folder}/a", content).version for content in contents]
        assert len(set(made)) == 4, f"writes of one name share a version: {made}"

    def test_a_write_keeps_its_own_copy(self, backend: Backend, folder: str) -> None:
        """What the caller does to its buffer afterwards changes nothing."""
        self.need(Capability.WRITE)
        self.need_binary()
        buffer = bytearray(b"content")
        backend.write(WriteRequest(name=SecretName(f"{folder}/a"), value=SecretValue(buffer)))
        buffer[:] = b"CHANGED"
        assert read(backend, f"{folder}/a").value.reveal() == b"content"

    def test_a_write_with_a_token_is_a_write_like_any_other(self, backend: Backend, folder: str) -> None:
        """Also for who does not know what the token is for: it is made, and so is the next one with another token."""
        self.need(Capability.WRITE)
        for content in ("first", "second"):
            request = WriteRequest(name=SecretName(f"{folder}/a"), value=SecretValue(content), token=new_token())
            written = backend.write(request)
            found = read(backend, f"{folder}/a")
            assert (found.value, found.version) == (request.value, written.version)

    def test_a_write_that_is_sent_twice_leaves_its_value(self, backend: Backend, folder: str) -> None:
        """Whoever knows the token again makes no other version; whoever does not, makes one of the same value."""
        self.need(Capability.WRITE)
        request = WriteRequest(name=SecretName(f"{folder}/a"), value=SecretValue("content"), token=new_token())
        first, second = backend.write(request), backend.write(request)
        found = read(backend, f"{folder}/a")
        assert (found.value, found.version) == (request.value, second.version)
        if Capability.VERSIONS in self.capabilities:
            listed = [one.version for one in versions_of(backend, f"{folder}/a")]
            assert sorted(listed) == sorted({first.version, second.version})

    def test_deleting_what_is_absent_is_silent(self, backend: Backend, folder: str) -> None:
        """The wished-for state is there already; the result says that nothing was."""
        self.need(Capability.WRITE)
        assert delete(backend, f"{folder}/missing").existed is False

    def test_a_deleted_secret_is_not_read(self, backend: Backend, folder: str) -> None:
        """It is 'deleted' or 'not found', never its old value."""
        self.need(Capability.WRITE)
        write(backend, f"{folder}/a", "content")
        assert delete(backend, f"{folder}/a").existed is True
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a")

    def test_deleting_twice_is_silent(self, backend: Backend, folder: str) -> None:
        """The second delete finds nothing."""
        self.need(Capability.WRITE)
        write(backend, f"{folder}/a", "content")
        delete(backend, f"{folder}/a")
        assert delete(backend, f"{folder}/a").existed is False

    @pytest.mark.parametrize("victim", ["a", "a/b", "ab", "a/b/c"])
    def test_a_delete_spares_its_neighbours(self, backend: Backend, folder: str, victim: str) -> None:
        """Deleting ``a`` leaves ``a/b`` and ``ab`` alone, and the other way round."""
        self.need(Capability.WRITE)
        tails = ["a", "a/b", "ab", "a/bc", "a/b/c"]
        for tail in tails:
            write(backend, f"{folder}/{tail}", f"content of {tail}")
        delete(backend, f"{folder}/{victim}")
        spared = [tail for tail in tails if tail != victim]
        for tail in spared:
            assert text_of(backend, f"{folder}/{tail}") == f"content of {tail}"

    def test_a_write_after_a_delete_makes_a_new_secret(self, backend: Backend, folder: str) -> None:
        """Deleting and creating anew works, and no version comes back from the dead; or it is refused as such."""
        self.need(Capability.WRITE)
        before = [write(backend, f"{folder}/a", content).version for content in ("first", "second")]
        delete(backend, f"{folder}/a")
        if self.refused_over_deleted(backend, f"{folder}/a"):
            return
        anew = write(backend, f"{folder}/a", "third").version
        assert text_of(backend, f"{folder}/a") == "third"
        assert anew not in before, "a version was used again after a delete"

    def test_a_value_over_the_limit_is_refused_before_the_call(
        self, guard: GuardedBackend, spy: FaultyBackend, folder: str
    ) -> None:
        """One byte over the limit, counted in UTF-8, never reaches the backend, and the old value stays."""
        self.need(Capability.WRITE)
        limit = _limit_of(guard)
        write(guard, f"{folder}/a", "old")
        spy.calls.clear()
        with pytest.raises(ValueTooLargeError) as caught:
            write(guard, f"{folder}/a", "x" * (limit - 1) + "\u00e9")
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
        assert spy.calls == [], "the core called the backend with a value that is too large"
        assert text_of(guard, f"{folder}/a") == "old"

    def test_a_value_at_the_limit_is_kept(self, guard: GuardedBackend, folder: str) -> None:
        """The limit that is stated is one that holds, with a multi-byte letter at the edge."""
        self.need(Capability.WRITE)
        content = "x" * (_limit_of(guard) - 2) + "\u00e9"
        write(guard, f"{folder}/a", content)
        assert text_of(guard, f"{folder}/a") == content

    def test_an_empty_value_is_refused_before_the_call(
        self, guard: GuardedBackend, spy: FaultyBackend, folder: str
    ) -> None:
        """Where empty cannot be held, nothing turns it silently into something else."""
        self.need(Capability.WRITE)
        if guard.accepts_empty:
            # That it comes back is checked where reading is.
            pytest.skip("the backend holds empty values")
        with pytest.raises(InvalidValueError):
            write(guard, f"{folder}/a", "")
        assert spy.calls == [], "the core called the backend with an empty value"

    def test_writing_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """A backend that leaves WRITE out does not write: leaving it out must hide nothing."""
        self.need_missing(Capability.WRITE)
        with pytest.raises(UnsupportedOperationError):
            write(backend, f"{folder}/a", "content")

    def test_deleting_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """A backend that leaves WRITE out does not delete either."""
        self.need_missing(Capability.WRITE)
        with pytest.raises(UnsupportedOperationError):
            delete(backend, f"{folder}/a")


def _limit_of(backend: Backend) -> int:
    limit = backend.max_value_bytes
    if limit is None or limit > SANE_LIMIT:
        # To reach a limit of megabytes would take a test longer than it tells.
        pytest.skip("the backend states no limit that a test could reach")
    return limit
