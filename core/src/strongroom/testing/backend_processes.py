"""Checks of life in a process: threads, forks, health, closing."""

from __future__ import annotations

from urllib.parse import urlsplit

from strongroom.contracts import Backend, Capability, Health, HealthState
from strongroom.testing.backend_kit import BackendKit, Seed, text_of, write
from strongroom.testing.processes import busy_threads, in_forked_child, in_threads
from strongroom.testing.promises import promised_by

ROUNDS = 5


class ProcessChecks(BackendKit):
    """Checks of threads, forks, health and closing."""

    @promised_by(Backend)
    def test_threads_do_not_disturb_each_other(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Eight threads that read a common secret, and write and read one of their own, get what is theirs.

        A server calls one backend from all of its threads, and the core holds no lock for it.
        """
        shared = seed(f"{folder}/shared", "common")
        own = [seed(f"{folder}/{number}", "start") for number in range(8)]

        def work(number: int) -> set[str]:
            seen = set()
            for turn in range(ROUNDS):
                content = "start"
                if Capability.WRITE in self.capabilities:
                    content = f"thread {number} turn {turn}"
                    write(backend, own[number], content)
                seen.add(f"own: {text_of(backend, own[number]) == content}")
                seen.add(f"shared: {text_of(backend, shared)}")
            return seen

        assert in_threads(8, work) == [{"own: True", "shared: common"}] * 8

    @promised_by(Backend.after_fork)
    def test_a_forked_child_can_read(self, backend: Backend, seed: Seed, folder: str) -> None:
        """After ``after_fork`` the child reads on its own, and the parent goes on.

        Servers fork; a connection that two processes use gives one the answer of the other.
        """
        name = seed(f"{folder}/a", "content")
        text_of(backend, name)
        assert in_forked_child(lambda: _read_in_child(backend, name)) == "content"
        assert text_of(backend, name) == "content", "the parent cannot read any more after the child has"

    @promised_by(Backend.after_fork)
    def test_a_forked_child_can_write(self, backend: Backend, seed: Seed, folder: str) -> None:
        """After ``after_fork`` the child writes and reads what it has written, and the parent still writes.

        Servers fork; a connection that two processes use mixes up what they write.
        """
        self.need(Capability.WRITE)
        name = seed(f"{folder}/a", "content")

        def child() -> str:
            backend.after_fork()
            write(backend, name, "by the child")
            return text_of(backend, name)

        assert in_forked_child(child) == "by the child"
        write(backend, name, "by the parent")
        assert text_of(backend, name) == "by the parent"

    @promised_by(Backend.after_fork)
    def test_a_fork_in_the_middle_of_calls_blocks_nobody(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A child that is forked while other threads are in a call reads all the same.

        A lock that another thread held at the moment of the fork would hold the child for ever.
        """
        names = [seed(f"{folder}/{number}", f"content {number}") for number in range(4)]

        def work() -> None:
            for name in names:
                text_of(backend, name)
                if Capability.WRITE in self.capabilities:
                    write(backend, f"{folder}/busy", "content")

        with busy_threads(2, work):
            answers = [in_forked_child(lambda: [_read_in_child(backend, name) for name in names]) for _ in range(4)]
        assert answers == [str([f"content {number}" for number in range(4)])] * 4

    @promised_by(Backend.after_fork)
    def test_a_child_that_closes_leaves_the_parent_alone(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The parent still reads after its child has closed the backend.

        A session that the child ends at the server is the parent's as well.
        """
        name = seed(f"{folder}/a", "content")
        text_of(backend, name)

        def child() -> str:
            backend.after_fork()
            backend.close()
            return "closed"

        assert in_forked_child(child) == "closed"
        assert text_of(backend, name) == "content"

    @promised_by(Backend.health)
    def test_health_says_that_it_is_up(self, backend: Backend) -> None:
        """The health of a backend that works is up.

        Health checks and ``strongroom doctor`` believe it; a false alarm takes a host out of service.
        """
        health = backend.health()
        assert isinstance(health, Health)
        assert health.state is HealthState.UP, f"the backend says: {health.reason}"

    @promised_by(Backend.close)
    def test_closing_twice_is_no_error(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A backend that was used and is closed a second time raises nothing.

        Whoever cleans up does not know whether somebody has done so before.
        """
        text_of(backend, seed(f"{folder}/a", "content"))
        backend.close()
        backend.close()

    @promised_by(Backend.close)
    def test_closing_without_use_is_no_error(self, backend: Backend) -> None:
        """A backend that was opened and never asked can be closed.

        A program may end before it has read anything, and is not to fail for it.
        """
        backend.close()

    @promised_by(Backend)
    def test_the_address_is_set(self, backend: Backend) -> None:
        """The backend has an ``address``, a text that is not empty.

        Cached and fallback copies are kept under it: it tells one backend's secrets from another's.
        """
        assert isinstance(backend.address, str)
        assert backend.address.strip(), "the address is empty"

    @promised_by(Backend)
    def test_the_address_holds_no_credentials(self, backend: Backend) -> None:
        """The ``address`` holds neither a password nor what the tests open the backend with.

        It shows in reports, errors and stores.
        """
        assert urlsplit(backend.address).password is None, "the address holds a password"
        for credential in self.credentials:
            assert credential not in backend.address, "the address holds one of the test's credentials"

    @promised_by(Backend.target)
    def test_the_target_stays_the_same(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The target is the same text before and after a call and in a forked child, once it is known.

        A write that waits is bound to it, and is made only where it is the same again.
        """
        before = backend.target()
        name = seed(f"{folder}/a", "content")
        text_of(backend, name)
        known = backend.target()
        assert before in (None, known), "the target has changed, and not from not being known yet"
        assert backend.target() == known
        if known is not None:
            assert isinstance(known, str)
            assert known.strip(), "the target is empty"
            assert in_forked_child(lambda: _target_in_child(backend)) in (known, "None")

    @promised_by(Backend.target)
    def test_the_target_holds_no_credentials(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The target holds neither a password nor what the tests open the backend with.

        It is kept in a journal, and shown to whoever looks into that.
        """
        text_of(backend, seed(f"{folder}/a", "content"))
        target = backend.target() or ""
        assert urlsplit(target).password is None, "the target holds a password"
        for credential in self.credentials:
            assert credential not in target, "the target holds one of the test's credentials"


def _target_in_child(backend: Backend) -> str | None:
    backend.after_fork()
    return backend.target()


def _read_in_child(backend: Backend, name: str) -> str:
    backend.after_fork()
    return text_of(backend, name)
