"""Each mistake in a backend makes the check fail that is about it, and no other."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import opentelemetry.sdk.trace.export.in_memory_span_exporter  # noqa: F401  # here once, not in each inner run
import pytest

import strongroom.testing  # noqa: F401  # the same

pytest_plugins = ["pytester"]

HEAD = """
    import logging
    import time
    import unicodedata

    import pytest

    from opentelemetry import trace

    from strongroom.builtin.memory import MemoryBackend
    from strongroom.builtin.settings import MemorySettings
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.model import ABSENT, SecretName, SecretValue, ValueType
    from strongroom.testing import BackendContract

    def changed(request, change):
        return request.replace(name=SecretName(change(request.name)))

    def cut(value, size):
        return SecretValue.of_bytes(value.reveal()[:size], value.type)

    def normalised(value):
        if value.type is ValueType.BINARY:
            return value
        return SecretValue(unicodedata.normalize("NFC", value.reveal_text()))

    class OneByOne(MemoryBackend):
        def read_many(self, request):
            return Backend.read_many(self, request)

    class Broken(OneByOne):
"""
TAIL = """
    class TestBroken(BackendContract):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()

        @pytest.fixture
        def journal(self):
            pytest.skip("the checks of a journal have tests of their own")
"""
# These take time, and run only where the mistake has to do with them.
SLOW = ("fork", "thread", "concurrent", "child", "odd_name", "comes_back_exactly")

MISTAKES = {
    "declares batches and has none": (
        """
        read_many = Backend.read_many
        """,
        {"test_a_batch_is_read_by_a_method_of_its_own"},
    ),
    "leaves the last name of a batch out": (
        """
        def read_many(self, request):
            return super().read_many(request.replace(names=request.names[:9]))
        """,
        {"test_a_batch_answers_each_name_once"},
    ),
    "has other versions in a batch": (
        """
        def read_many(self, request):
            result = super().read_many(request)
            return result.replace(found={name: one.replace(version="0") for name, one in result.found.items()})
        """,
        {"test_a_batch_gives_the_versions_that_single_reads_give"},
    ),
    "cannot read nothing": (
        """
        def read_many(self, request):
            request.names[0]
            return super().read_many(request)
        """,
        {"test_a_batch_of_nothing_is_empty"},
    ),
    "trims text": (
        """
        def read(self, request):
            result = super().read(request)
            text = result.value.reveal().strip()
            return result.replace(value=SecretValue.of_bytes(text, result.value.type))
        """,
        {"test_a_text_comes_back_exactly"},
    ),
    "guesses numbers": (
        """
        def read(self, request):
            result = super().read(request)
            text = result.value.reveal()
            return result.replace(value=SecretValue(str(int(text)))) if text.isdigit() else result
        """,
        {"test_a_text_comes_back_exactly"},
    ),
    "normalises text": (
        """
        def write(self, request):
            return super().write(request.replace(value=normalised(request.value)))
        """,
        {"test_a_text_comes_back_exactly"},
    ),
    "forgets the type": (
        """
        def read(self, request):
            result = super().read(request)
            return result.replace(value=SecretValue.of_bytes(result.value.reveal(), ValueType.TEXT))
        """,
        {"test_bytes_come_back_as_bytes", "test_an_overwrite_may_change_the_type"},
    ),
    "decodes bytes": (
        """
        def read(self, request):
            result = super().read(request)
            content = result.value.reveal().decode(errors="replace").encode()
            return result.replace(value=SecretValue.of_bytes(content, result.value.type))
        """,
        {"test_every_byte_value_comes_back"},
    ),
    "takes empty for missing": (
        """
        def read(self, request):
            result = super().read(request)
            if not result.value.reveal():
                raise SecretNotFoundError(f"{request.name} is not there")
            return result
        """,
        {"test_an_empty_text_is_a_value"},
    ),
    "cuts large values": (
        """
        def write(self, request):
            return super().write(request.replace(value=cut(request.value, 32_000)))
        """,
        {"test_a_large_value_comes_back"},
    ),
    "states a limit that is too high": (
        """
        def __init__(self):
            super().__init__()
            self.max_value_bytes = 100

        def write(self, request):
            return super().write(request.replace(value=cut(request.value, 99)))
        """,
        {"test_a_value_at_the_limit_is_kept", "test_a_large_value_comes_back", "test_every_byte_value_comes_back"},
    ),
    "says deleted of what never was": (
        """
        def read(self, request):
            try:
                return super().read(request)
            except SecretNotFoundError:
                raise SecretDeletedError(f"{request.name} was deleted") from None
        """,
        {"test_reading_a_missing_secret_raises", "test_a_destroyed_version_never_comes_back"},
    ),
    "raises a foreign error for what is missing": (
        """
        def read(self, request):
            return super().read(request) if request.name in self._histories else {}[request.name]
        """,
        {
            "test_reading_a_missing_secret_raises",
            "test_the_error_for_a_missing_secret_names_it",
            "test_a_folder_is_not_a_secret",
            "test_a_secret_is_not_a_folder",
            "test_reading_many_answers_each_name",
            "test_a_batch_answers_each_name_once",
            "test_one_of_two_names_that_look_alike_is_missing",
            "test_the_longest_name_is_kept_or_refused",
            "test_a_state_is_no_secret",
            "test_a_secret_that_is_destroyed_as_a_whole_is_gone",
        },
    ),
    "folds the case of names": (
        """
        def read(self, request):
            return super().read(changed(request, str.lower))

        def write(self, request):
            return super().write(changed(request, str.lower))
        """,
        {
            "test_an_odd_name_is_kept_or_refused",
            "test_names_that_look_alike_reach_different_secrets",
            "test_one_of_two_names_that_look_alike_is_missing",
            "test_names_that_differ_in_case_are_kept_apart",
        },
    ),
    "writes underscores for slashes": (
        """
        def read(self, request):
            return super().read(changed(request, lambda name: name.replace("_", "/")))

        def write(self, request):
            return super().write(changed(request, lambda name: name.replace("_", "/").replace("//", "/").strip("/")))
        """,
        {
            "test_an_odd_name_is_kept_or_refused",
            "test_names_that_look_alike_reach_different_secrets",
            "test_one_of_two_names_that_look_alike_is_missing",
        },
    ),
    "cuts long names": (
        """
        def read(self, request):
            return super().read(changed(request, lambda name: name[:100]))

        def write(self, request):
            return super().write(changed(request, lambda name: name[:100]))
        """,
        {"test_the_longest_name_is_kept_or_refused"},
    ),
    "deletes by prefix": (
        """
        def delete(self, request):
            found = [name for name in self._histories if name.startswith(request.name)]
            return [super(Broken, self).delete(DeleteRequest(name=name)) for name in sorted(found) or [request.name]][0]
        """,
        {"test_a_delete_spares_its_neighbours"},
    ),
    "deletes the folder of the same name": (
        """
        def delete(self, request):
            for name in [name for name in self._histories if name.is_below(request.name)]:
                super().delete(DeleteRequest(name=name))
            return super().delete(request)
        """,
        {"test_a_delete_spares_its_neighbours"},
    ),
    "complains of deleting what is absent": (
        """
        def delete(self, request):
            result = super().delete(request)
            if not result.existed:
                raise SecretNotFoundError(f"there is no {request.name}")
            return result
        """,
        {"test_deleting_what_is_absent_is_silent", "test_deleting_twice_is_silent"},
    ),
    "uses versions again after a delete": (
        """
        def delete(self, request):
            result = super().delete(request)
            self._histories.pop(request.name, None)
            return result
        """,
        {
            "test_a_write_after_a_delete_makes_a_new_secret",
            "test_a_deleted_version_can_be_destroyed",
            "test_an_older_version_comes_back_by_its_number",
            "test_what_was_deleted_comes_back_exactly",
        },
    ),
    "makes the version from the content": (
        """
        def read(self, request):
            result = super().read(request)
            return result.replace(version=f"size {len(result.value)}") if request.version is None else result

        def write(self, request):
            return super().write(request.replace(expect_version=None)).replace(version=f"size {len(request.value)}")
        """,
        {
            "test_a_write_that_is_sent_twice_leaves_its_value",
            "test_each_write_makes_a_new_version",
            "test_versions_come_oldest_first",
            "test_an_older_version_is_readable",
            "test_another_version_than_expected_is_a_conflict",
            "test_an_unknown_version_as_expected_is_a_conflict",
            "test_a_version_expected_of_a_missing_secret_is_a_conflict",
            "test_a_secret_that_exists_is_not_absent",
            "test_a_write_after_a_delete_makes_a_new_secret",
            "test_a_description_names_the_newest_version",
            "test_a_destroyed_version_never_comes_back",
            "test_undeleting_what_is_not_deleted_changes_nothing",
            "test_an_older_version_comes_back_by_its_number",
            "test_a_deleted_version_can_be_destroyed",
            "test_what_was_deleted_comes_back_exactly",
            "test_a_current_version_is_the_one_that_a_read_names",
            "test_a_change_is_seen_at_the_next_look",
            "test_many_names_are_answered_each_for_itself",
            "test_versions_are_said_while_others_write",
        },
    ),
    "returns the current value for an unknown version": (
        """
        def read(self, request):
            try:
                return super().read(request)
            except SecretNotFoundError as error:
                if error.code != "version_not_found":
                    raise
            return super().read(request.replace(version=None))
        """,
        {"test_an_unknown_version_is_not_found", "test_a_version_that_makes_no_sense_is_not_found"},
    ),
    "lists versions newest first": (
        """
        def versions(self, request):
            return VersionsResult(versions=super().versions(request).versions[::-1])
        """,
        {"test_versions_come_oldest_first"},
    ),
    "ignores the expected version": (
        """
        def write(self, request):
            return super().write(request.replace(expect_version=None))
        """,
        {
            "test_another_version_than_expected_is_a_conflict",
            "test_an_unknown_version_as_expected_is_a_conflict",
            "test_a_version_expected_of_a_missing_secret_is_a_conflict",
            "test_a_secret_that_exists_is_not_absent",
        },
    ),
    "takes absent for any": (
        """
        def write(self, request):
            return super().write(request.replace(expect_version=None) if request.expect_version is ABSENT else request)
        """,
        {"test_a_secret_that_exists_is_not_absent"},
    ),
    "lists by the beginning of the text": (
        """
        def list(self, request):
            names = super().list(ListRequest()).names
            return ListResult(names=tuple(name for name in names if name.startswith(request.prefix)))
        """,
        {"test_a_prefix_is_made_of_whole_segments", "test_one_level_tells_of_all_that_is_below"},
    ),
    "lists one level": (
        """
        def list(self, request):
            names = super().list(request).names
            depth = request.prefix.count("/") + 1
            return ListResult(names=tuple(name for name in names if name.count("/") == depth))
        """,
        {
            "test_a_listing_goes_into_every_depth",
            "test_a_prefix_is_made_of_whole_segments",
            "test_a_listing_of_everything_holds_every_name",
            "test_listed_names_are_canonical_and_readable",
            "test_an_odd_name_is_kept_or_refused",
            "test_one_level_tells_of_all_that_is_below",
            "test_a_secret_that_is_destroyed_as_a_whole_is_gone",
        },
    ),
    "lists without order": (
        """
        def list(self, request):
            return ListResult(names=super().list(request).names[::-1])
        """,
        {
            "test_a_listing_is_complete_and_sorted",
            "test_a_listing_goes_into_every_depth",
            "test_a_prefix_is_made_of_whole_segments",
            "test_a_listing_of_everything_holds_every_name",
            "test_a_deleted_secret_is_not_listed",
        },
    ),
    "lists what was deleted": (
        """
        def list(self, request):
            return ListResult(names=tuple(sorted(name for name in self._histories if name.is_below(request.prefix))))
        """,
        {"test_a_deleted_secret_is_not_listed"},
    ),
    "lists only the first page": (
        """
        def list(self, request):
            return ListResult(names=super().list(request).names[:5])
        """,
        {"test_a_listing_is_complete_and_sorted"},
    ),
    "shows values in its repr": (
        """
        def __repr__(self):
            return repr([version.value.reveal() for history in self._histories.values() for version in history])
        """,
        {"test_no_value_in_the_backend_itself"},
    ),
    "shows the value in an error": (
        """
        def write(self, request):
            try:
                return super().write(request)
            except VersionConflictError as error:
                error.add_note(f"while writing {request.value.reveal()}")
                raise
        """,
        {"test_no_value_in_errors", "test_no_value_in_local_variables"},
    ),
    "keeps the value in a local variable": (
        """
        def write(self, request):
            payload = {"data": request.value.reveal().hex()}
            return super().write(request)
        """,
        {"test_no_value_in_local_variables"},
    ),
    "logs the value": (
        """
        def write(self, request):
            logging.getLogger("acme").debug("writing %r", request.value.reveal())
            return super().write(request)
        """,
        {"test_no_value_in_the_log"},
    ),
    "puts the name into a span": (
        """
        def read(self, request):
            trace.get_current_span().set_attribute("acme.name", request.name)
            return super().read(request)
        """,
        {"test_no_value_and_no_name_in_spans", "test_spans_of_the_core_hold_known_attributes_only"},
    ),
    "cannot be closed twice": (
        """
        def close(self):
            self._lock.release() if self.__dict__.pop("_open", None) else self.__dict__.pop("address")
        """,
        {"test_closing_twice_is_no_error"},
    ),
    "has its password in the address": (
        """
        def __init__(self):
            super().__init__()
            self.address = "https://user:hunter2@vault.example"
        """,
        {"test_the_address_holds_no_credentials", "test_the_target_holds_no_credentials"},
    ),
    "has its password in the target": (
        """
        def target(self):
            return "https://user:hunter2@vault.example"
        """,
        {"test_the_target_holds_no_credentials"},
    ),
    "has another target each time": (
        """
        def target(self):
            self.times = getattr(self, "times", 0) + 1
            return f"the target {self.times}"
        """,
        {"test_the_target_stays_the_same"},
    ),
    "has an empty target": (
        """
        def target(self):
            return ""
        """,
        {"test_the_target_stays_the_same"},
    ),
    "has another target after a call": (
        """
        def read(self, request):
            self.address = "memory:here"
            return super().read(request)
        """,
        {"test_the_target_stays_the_same"},
    ),
    "has another target in a child": (
        """
        def after_fork(self):
            super().after_fork()
            self.address = "memory:here"
        """,
        {"test_the_target_stays_the_same"},
    ),
    "refuses tokens": (
        """
        def write(self, request):
            if request.token is not None:
                raise UnsupportedOperationError("no tokens")
            return super().write(request)
        """,
        {"test_a_write_with_a_token_is_a_write_like_any_other", "test_a_write_that_is_sent_twice_leaves_its_value"},
    ),
    "names a version by its token and does not find it": (
        """
        def write(self, request):
            result = super().write(request)
            return result.replace(version=request.token or result.version)
        """,
        {"test_a_write_with_a_token_is_a_write_like_any_other", "test_a_write_that_is_sent_twice_leaves_its_value"},
    ),
    "takes any token for one that it knows": (
        """
        def write(self, request):
            if request.token is not None and request.name in self._histories:
                return WriteResult(version=str(self._histories[request.name][-1].number))
            return super().write(request)
        """,
        {"test_a_write_with_a_token_is_a_write_like_any_other"},
    ),
    "knows a token again and makes a version all the same": (
        """
        def write(self, request):
            tokens = self.__dict__.setdefault("tokens", {})
            result = super().write(request)
            return tokens.setdefault(request.token, result) if request.token is not None else result
        """,
        {"test_a_write_that_is_sent_twice_leaves_its_value"},
    ),
    "says that it is down": (
        """
        def health(self):
            return Health(state=HealthState.DOWN, reason="always")
        """,
        {"test_health_says_that_it_is_up"},
    ),
    "keeps a state under a key's small letters": (
        """
        def save_state(self, request):
            super().save_state(request.replace(key=request.key.lower()))

        def load_state(self, request):
            return super().load_state(request.replace(key=request.key.lower()))
        """,
        {"test_states_under_keys_that_look_alike_are_apart"},
    ),
    "takes an empty state for none": (
        """
        def load_state(self, request):
            result = super().load_state(request)
            return result if result.state else result.replace(state=None)
        """,
        {"test_a_state_comes_back_exactly"},
    ),
    "adds to a state": (
        """
        def save_state(self, request):
            before = self.load_state(LoadStateRequest(key=request.key)).state or b""
            super().save_state(request.replace(state=request.state + before[len(request.state):]))
        """,
        {"test_a_state_replaces_the_one_before"},
    ),
    "takes states of any size": (
        """
        def save_state(self, request):
            self._states[request.key] = request.state
        """,
        {"test_a_state_over_the_limit_is_refused"},
    ),
    "keeps states among the secrets": (
        """
        def save_state(self, request):
            if len(request.state) > MAX_STATE_BYTES:
                raise ValueTooLargeError("too large", size=len(request.state), limit=MAX_STATE_BYTES)
            self.write(WriteRequest(name=SecretName(request.key), value=SecretValue(request.state)))

        def load_state(self, request):
            try:
                return LoadStateResult(state=self.read(ReadRequest(name=SecretName(request.key))).value.reveal())
            except SecretNotFoundError:
                return LoadStateResult(state=None)
        """,
        {"test_a_state_is_no_secret", "test_a_secret_and_a_state_of_the_same_spelling_are_apart"},
    ),
    "shows a state": (
        """
        def __repr__(self):
            return f"Broken({self._states})"
        """,
        {"test_no_state_in_the_backend_itself"},
    ),
    "tells nothing of folders": (
        """
        def list(self, request):
            names = super().list(request).names
            depth = request.prefix.count("/") + 1
            return ListResult(names=tuple(name for name in names if request.recursive or name.count("/") == depth))
        """,
        {"test_one_level_tells_of_all_that_is_below"},
    ),
    "brings nothing back": (
        """
        def undelete(self, request):
            return UndeleteResult(version=str(self._histories[request.name][-1].number))
        """,
        {
            "test_what_was_deleted_comes_back_exactly",
            "test_an_older_version_comes_back_by_its_number",
            "test_what_never_was_cannot_be_undeleted",
            "test_a_destroyed_version_never_comes_back",
            "test_a_deleted_version_can_be_destroyed",
            "test_a_secret_that_is_destroyed_as_a_whole_is_gone",
        },
    ),
    "brings the newest version back whatever was asked for": (
        """
        def undelete(self, request):
            return super().undelete(request.replace(version=None))
        """,
        {
            "test_an_older_version_comes_back_by_its_number",
            "test_what_never_was_cannot_be_undeleted",
            "test_a_destroyed_version_never_comes_back",
        },
    ),
    "writes anew what it brings back": (
        """
        def undelete(self, request):
            super().undelete(request)
            return UndeleteResult(version=self.write(WriteRequest(name=request.name, value=SecretValue("x"))).version)
        """,
        {
            "test_what_was_deleted_comes_back_exactly",
            "test_an_older_version_comes_back_by_its_number",
            "test_undeleting_what_is_not_deleted_changes_nothing",
        },
    ),
    "only deletes what it should destroy": (
        """
        def destroy(self, request):
            return DestroyResult(existed=self.delete(DeleteRequest(name=request.name)).existed)
        """,
        {
            "test_a_destroyed_version_never_comes_back",
            "test_a_deleted_version_can_be_destroyed",
            "test_a_version_that_never_was_cannot_be_destroyed",
            "test_a_secret_that_is_destroyed_as_a_whole_is_gone",
        },
    ),
    "destroys by prefix": (
        """
        def destroy(self, request):
            for name in [name for name in self._histories if name.startswith(request.name) and not request.versions]:
                result = super().destroy(request.replace(name=name))
            return super().destroy(request) if request.name in self._histories or request.versions else (
                DestroyResult(existed="result" in locals())
            )
        """,
        {"test_a_secret_that_is_destroyed_as_a_whole_is_gone"},
    ),
    "says that it destroyed what was not there": (
        """
        def destroy(self, request):
            return super().destroy(request).replace(existed=True)
        """,
        {"test_destroying_what_is_absent_is_silent"},
    ),
    "passes over versions that it has not got": (
        """
        def destroy(self, request):
            known = {version.version for version in self.versions(VersionsRequest(name=request.name)).versions}
            return super().destroy(request.replace(versions=tuple(known.intersection(request.versions))))
        """,
        {
            "test_a_version_that_never_was_cannot_be_destroyed",
            "test_destroying_what_is_absent_is_silent",
        },
    ),
    "folds the case of notes": (
        """
        def annotate(self, request):
            kept = {name.lower(): text for name, text in request.metadata.items()}
            return super().annotate(request.replace(metadata=kept))
        """,
        {"test_notes_come_back_exactly", "test_notes_leave_the_secret_as_it_is"},
    ),
    "leaves empty notes out": (
        """
        def annotate(self, request):
            kept = {name: text for name, text in request.metadata.items() if text}
            return super().annotate(request.replace(metadata=kept))
        """,
        {"test_an_empty_note_is_kept_or_refused"},
    ),
    "adds to notes": (
        """
        def annotate(self, request):
            before = self._notes.get(request.name, {})
            return super().annotate(request.replace(metadata=before | request.metadata))
        """,
        {"test_notes_replace_those_before", "test_odd_notes_are_kept_or_refused_as_a_whole"},
    ),
    "makes a version to note something": (
        """
        def annotate(self, request):
            result = super().annotate(request)
            self.write(WriteRequest(name=request.name, value=SecretValue("x")))
            return result
        """,
        {"test_notes_leave_the_secret_as_it_is"},
    ),
    "has one set of notes": (
        """
        def annotate(self, request):
            result = super().annotate(request)
            for name in self._histories:
                self._notes[name] = dict(request.metadata)
            return result
        """,
        {"test_notes_of_one_secret_are_not_anothers"},
    ),
    "makes a secret to note something about it": (
        """
        def annotate(self, request):
            if request.name not in self._histories:
                self.write(WriteRequest(name=request.name, value=SecretValue("")))
            return super().annotate(request)
        """,
        {"test_what_is_absent_has_no_notes_and_gets_none"},
    ),
    "describes another version": (
        """
        def describe(self, request):
            return super().describe(request).replace(version="1")
        """,
        {"test_a_description_names_the_newest_version"},
    ),
    "has the value among its facts": (
        """
        def describe(self, request):
            value = self.read(ReadRequest(name=request.name)).value.reveal_text()
            return super().describe(request).replace(facts=(("value", value),))
        """,
        {"test_no_value_in_a_description"},
    ),
}


def module(body: str, tail: str = TAIL) -> str:
    return textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(body), "    ") + textwrap.dedent(tail)


def quick(expected: set[str]) -> tuple[str, ...]:
    """Return the arguments that leave out slow checks, apart from those that are expected to fail."""
    left_out = [word for word in SLOW if not any(word in name for name in expected)]
    return ("-k", " and ".join(f"not {word}" for word in left_out))


@pytest.mark.parametrize(("body", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_checks(failed_checks: Callable[..., set[str]], body: str, expected: set[str]) -> None:
    assert failed_checks(module(body), *quick(expected)) == expected


def test_writes_that_are_not_atomic_are_found(failed_checks: Callable[..., set[str]]) -> None:
    body = """
        def write(self, request):
            if request.expect_version not in (None, ABSENT):
                current = self.read(ReadRequest(name=request.name)).version
                if current != request.expect_version:
                    raise VersionConflictError("conflict", expected=request.expect_version, found=current)
                time.sleep(0.02)  # the gap that a lock would close
                request = request.replace(expect_version=None)
            return super().write(request)
    """
    assert failed_checks(module(body), "-k", "concurrent") == {"test_concurrent_increments_lose_nothing"}


def test_a_capability_that_is_not_stated_must_not_work(failed_checks: Callable[..., set[str]]) -> None:
    tail = TAIL.replace("frozenset(Capability)", "frozenset({Capability.WRITE})")
    expected = {
        "test_listing_without_the_capability_is_refused",
        "test_listing_versions_without_the_capability_is_refused",
        "test_an_expected_version_without_the_capability_is_refused",
    }
    assert failed_checks(module("    pass", tail), *quick(expected)) == expected


@pytest.mark.parametrize("told", ["result.value.reveal_text()", "'the one'"])
def test_without_versions_each_other_value_has_one_of_its_own(
    failed_checks: Callable[..., set[str]], told: str
) -> None:
    """The same value may have the same."""
    body = f"""
        def read(self, request):
            result = super().read(request)
            return result.replace(version={told})

        def write(self, request):
            super().write(request)
            return WriteResult(version=self.read(ReadRequest(name=request.name)).version)
    """
    tail = TAIL.replace("frozenset(Capability)", "frozenset({Capability.WRITE})")
    found = failed_checks(module(body, tail), "-k", "new_version")
    assert found == ({"test_each_write_makes_a_new_version"} if told == "'the one'" else set())


def test_an_error_without_its_cause_is_found(failed_checks: Callable[..., set[str]]) -> None:
    body = """
        def read(self, request):
            raise BackendUnavailableError("no answer")
    """
    tail = TAIL.replace("return Broken()", "return MemoryBackend()") + textwrap.indent(
        "\n    @pytest.fixture\n    def failing(self):\n        return Broken()\n", "    "
    )
    checks = ("-k", "failure or foreign")
    assert failed_checks(module(body, tail), *checks) == {"test_a_foreign_exception_is_kept_as_the_cause"}


def test_a_lock_that_a_fork_leaves_taken_is_found(failed_checks: Callable[..., set[str]]) -> None:
    body = """
        def after_fork(self):
            raise RuntimeError("a lock is held by a thread that is not here")
    """
    found = failed_checks(module(body), "-k", "fork or child")
    assert {"test_a_forked_child_can_read", "test_a_fork_in_the_middle_of_calls_blocks_nobody"} <= found


def test_a_forgotten_fixture_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "from strongroom.testing import BackendContract\n\n\nclass TestForgotten(BackendContract):\n    pass\n"
    )
    outcome = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "health")
    outcome.stdout.fnmatch_lines(["*TestForgotten must override the fixture `backend`*"])


def test_a_failure_shows_both_sides(pytester: pytest.Pytester) -> None:
    """The kit's assertions are rewritten, so an author sees what came back instead of AssertionError."""
    pytester.makepyfile(module(MISTAKES["trims text"][0]))
    outcome = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "comes_back_exactly")
    outcome.stdout.fnmatch_lines(["E *assert 'line' == 'line\\n'*"])
