"""Checks of a backend that also keeps states for the core: see ``StateStore``."""

from __future__ import annotations

from typing import TypeGuard

import pytest

from strongroom.contracts import (
    MAX_STATE_BYTES,
    Backend,
    Capability,
    LoadStateRequest,
    LoadStateResult,
    SaveStateRequest,
    StateStore,
)
from strongroom.errors import SecretNotFoundError, ValueTooLargeError
from strongroom.testing.backend_kit import BackendKit, Seed, names_below, read, text_of, write
from strongroom.testing.leaks import assert_hidden, marker_value
from strongroom.testing.processes import in_forked_child, in_threads
from strongroom.testing.promises import promised_by

STATES = {
    "empty": b"",
    "every byte": bytes(range(256)),
    "blanks at its ends": b" \n state \n\0 ",
    "no text": b"\xff\xfe\x80",
}


class StateChecks(BackendKit):
    """Checks of kept states; they are left out for a backend that is no ``StateStore``."""

    @pytest.fixture
    def states(self, backend: Backend) -> StateStore:
        """Return the backend under test as a keeper of states."""
        if not keeps_states(backend):
            # The interface is optional.
            pytest.skip("the backend does not implement the optional interface StateStore")
        return backend

    @pytest.mark.parametrize("content", STATES.values(), ids=STATES.keys())
    @promised_by(StateStore.load_state)
    def test_a_state_comes_back_exactly(self, states: StateStore, folder: str, content: bytes) -> None:
        """A state comes back with every byte, an empty one as an empty one.

        The core writes what it likes into it, and nothing of that is text.
        """
        save(states, f"{folder}/rate", content)
        assert load(states, f"{folder}/rate") == content

    @promised_by(LoadStateResult)
    def test_a_state_that_was_never_saved_is_none(self, states: StateStore, folder: str) -> None:
        """A state that was never saved is ``None``, and no error.

        At the first start there is none, and the program must begin all the same.
        """
        assert load(states, f"{folder}/never") is None

    @promised_by(StateStore.save_state)
    def test_a_state_replaces_the_one_before(self, states: StateStore, folder: str) -> None:
        """A state replaces the one before as a whole, where it is shorter, too.

        A rest of the old one at its end would make the new one unusable.
        """
        save(states, f"{folder}/rate", b"the first one")
        save(states, f"{folder}/rate", b"second")
        assert load(states, f"{folder}/rate") == b"second"

    @promised_by(SaveStateRequest)
    def test_states_under_keys_that_look_alike_are_apart(self, states: StateStore, folder: str) -> None:
        """Keys that differ in case, length or an accent have states of their own.

        A key is exact text; one detector would take up what another has learned.
        """
        keys = [f"{folder}/rate", f"{folder}/Rate", f"{folder}/rate/1", f"{folder}/rat", f"{folder}/räte"]
        for key in keys:
            save(states, key, key.encode())
        assert [load(states, key) for key in keys] == [key.encode() for key in keys]

    @promised_by(StateStore.save_state)
    def test_the_largest_state_is_kept(self, states: StateStore, folder: str) -> None:
        """A state of ``MAX_STATE_BYTES`` is kept.

        Detectors fill it up to there, since the contract says that they may.
        """
        largest = bytes(range(256)) * (MAX_STATE_BYTES // 256)
        save(states, f"{folder}/large", largest)
        assert load(states, f"{folder}/large") == largest

    @promised_by(StateStore.save_state)
    def test_a_state_over_the_limit_is_refused(self, states: StateStore, folder: str) -> None:
        """A larger state raises ``ValueTooLargeError``, and the one before stays.

        Half of a state is of no use, and the one before still is.
        """
        save(states, f"{folder}/large", b"before")
        with pytest.raises(ValueTooLargeError):
            save(states, f"{folder}/large", bytes(MAX_STATE_BYTES + 1))
        assert load(states, f"{folder}/large") == b"before"

    @promised_by(SaveStateRequest)
    def test_a_state_is_no_secret(self, states: StateStore, backend: Backend, folder: str) -> None:
        """A state is neither read nor listed as a secret under its key.

        It would show in listings and exports, and be open to whoever may read there.
        """
        save(states, f"{folder}/rate", b"state")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/rate")
        if Capability.LIST in self.capabilities:
            assert names_below(backend, folder) == []

    @promised_by(SaveStateRequest)
    def test_a_secret_and_a_state_of_the_same_spelling_are_apart(
        self, states: StateStore, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A secret and a state of the same spelling do not replace each other.

        Nobody who chooses a secret's name knows the keys of states.
        """
        name = seed(f"{folder}/both", "the secret")
        save(states, name, b"the state")
        assert text_of(backend, name) == "the secret"
        assert load(states, name) == b"the state"

    @promised_by(StateStore)
    def test_no_state_in_the_backend_itself(self, states: StateStore, folder: str) -> None:
        """Neither ``repr`` nor ``str`` of the backend show a state.

        A state tells who asks for what; it is as private as a value.
        """
        marker = marker_value()
        save(states, f"{folder}/rate", marker.encode())
        assert_hidden(marker, f"{states!r} {states!s}", "the backend's repr")

    @promised_by(StateStore)
    def test_threads_that_save_states_do_not_disturb_each_other(
        self, states: StateStore, backend: Backend, folder: str
    ) -> None:
        """Four threads find their own states, and under a common key one that was saved there.

        States are saved from threads of the core's, beside all reads and writes.
        """

        def work(number: int) -> bytes | None:
            for turn in range(5):
                save(states, f"{folder}/{number}", b"%d %d" % (number, turn))
                save(states, f"{folder}/common", b"by %d" % number)
                if Capability.WRITE in self.capabilities:
                    write(backend, f"{folder}/secret{number}", f"turn {turn}")
            return load(states, f"{folder}/{number}")

        assert in_threads(4, work) == [b"%d 4" % number for number in range(4)]
        assert load(states, f"{folder}/common") in {b"by %d" % number for number in range(4)}

    @promised_by(Backend.after_fork)
    def test_a_forked_child_can_save_and_load_states(self, states: StateStore, backend: Backend, folder: str) -> None:
        """After ``after_fork`` the child saves and loads states, and the parent goes on.

        Servers fork, and each of their processes learns.
        """
        save(states, f"{folder}/rate", b"parent")

        def child() -> str:
            backend.after_fork()
            before = load(states, f"{folder}/rate")
            save(states, f"{folder}/child", b"child")
            return f"{before!r} {load(states, f'{folder}/child')!r}"

        assert in_forked_child(child) == "b'parent' b'child'"
        save(states, f"{folder}/rate", b"parent again")
        assert load(states, f"{folder}/rate") == b"parent again"


def keeps_states(backend: Backend) -> TypeGuard[StateStore]:
    """Tell whether a backend keeps states, too."""
    return isinstance(backend, StateStore)


def save(states: StateStore, key: str, state: bytes) -> None:
    """Keep one state."""
    states.save_state(SaveStateRequest(key=key, state=state))


def load(states: StateStore, key: str) -> bytes | None:
    """Return one state."""
    return states.load_state(LoadStateRequest(key=key)).state
