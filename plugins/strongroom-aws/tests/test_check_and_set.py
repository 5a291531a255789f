"""Writing over an expected version: nobody's change is lost, whoever else writes and wherever one stops.

All of it against the fake, but for the threads: it can drop answers, and let somebody else come in between.
"""

from __future__ import annotations

import secrets

from collections.abc import Callable
from typing import Any

import pytest

from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from awswriting import (
    NAME,
    Actor,
    CrashError,
    CrashingAsker,
    asked,
    delete,
    opened,
    read,
    settings,
    text_of,
    tokens,
    write,
)
from fakeaws import FakeSecretsManager
from strongroom.errors import AccessDeniedError, BackendUnavailableError, VersionConflictError
from strongroom.model import ABSENT
from strongroom.testing import in_threads
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.clients import Clients
from strongroom_aws.overwriting import CANDIDATE
from strongroom_aws.place import resolve

THREADS = 20
LOOK = "DescribeSecret"
PUT = "PutSecretValue"
MOVE = "UpdateSecretVersionStage"
Told = tuple[str, Any, str]
"""What a writer was told of a write, over which version, and its content."""
IMPOSSIBLE = ["", "1", "no such version", "x" * 65, "0" * 32]


@pytest.fixture(params=["emulator", "fake"])
def either(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("aws" if request.param == "fake" else "emulator")


def put(aws: FakeSecretsManager, content: str, times: int = 1) -> None:
    """Write as another program does, maybe several times."""
    for _ in range(times):
        aws.client().put_secret_value(SecretId=NAME, SecretString=content)


def labels(aws: FakeSecretsManager) -> set[str]:
    """Return all labels that are on any version."""
    return {label for on_one in aws.secret(NAME).stages.values() for label in on_one}


def expect_conflict(backend: AwsBackend, expected: Any) -> VersionConflictError:
    with pytest.raises(VersionConflictError) as caught:
        write(backend, "lost", expected)
    return caught.value


class TestConflicts:
    def test_an_error_names_both_versions(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        second = write(backend, "2", first).version
        error = expect_conflict(backend, first)
        assert (error.expected, error.found, error.name) == (first, second, NAME)
        assert first in str(error)
        assert second in str(error)

    @pytest.mark.parametrize("version", IMPOSSIBLE)
    def test_what_cannot_be_a_version_is_a_conflict_and_never_sent(self, aws: FakeSecretsManager, version: str) -> None:
        backend = opened(aws)
        current = write(backend, "1").version
        asked(aws)
        error = expect_conflict(backend, version)
        assert (error.expected, error.found) == (version, current)
        assert asked(aws) == [LOOK]

    @pytest.mark.parametrize("begins", ["without a value", "deleted", "missing"])
    def test_the_word_absent_is_no_version_that_anything_has(self, aws: FakeSecretsManager, begins: str) -> None:
        """Only ``ABSENT`` itself says that nothing is expected."""
        if begins != "missing":
            aws.client().create_secret(Name=NAME)
        if begins == "deleted":
            aws.client().delete_secret(SecretId=NAME)
        asked(aws)
        expect_conflict(opened(aws, on_deleted="restore"), "absent")
        assert asked(aws) == [LOOK]
        assert begins == "missing" or aws.secret(NAME).versions == {}

    def test_what_is_missing_is_never_created(self, aws: FakeSecretsManager) -> None:
        assert expect_conflict(opened(aws), "0" * 32).found == "absent"
        assert aws.names() == []

    def test_a_pending_or_previous_version_is_not_the_current_one(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        previous, current = write(backend, "1").version, write(backend, "2").version
        pending = "1" * 32
        aws.client().put_secret_value(
            SecretId=NAME, SecretString="3", VersionStages=["AWSPENDING"], ClientRequestToken=pending
        )
        for other in (previous, pending):
            assert expect_conflict(backend, other).found == current
        write(backend, "4", current)
        assert aws.secret(NAME).stages[pending] == ["AWSPENDING"]

    @pytest.mark.parametrize("moment", [PUT, MOVE])
    def test_who_comes_in_between_wins(self, aws: FakeSecretsManager, moment: str) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        aws.before(moment, lambda _: put(aws, "theirs"))
        error = expect_conflict(backend, first)
        assert text_of(backend) == "theirs"
        assert error.found == read(backend).version
        assert CANDIDATE not in labels(aws)

    @pytest.mark.parametrize("moment", [PUT, MOVE])
    @pytest.mark.parametrize("force", [False, True])
    def test_what_is_deleted_in_between_is_absent(self, aws: FakeSecretsManager, moment: str, force: bool) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        how = {"ForceDeleteWithoutRecovery": True} if force else {}
        aws.before(moment, lambda _: aws.client().delete_secret(SecretId=NAME, **how))
        assert expect_conflict(backend, first).found == "absent"

    @pytest.mark.parametrize("moment", [PUT, MOVE])
    def test_a_secret_that_is_made_anew_in_between_is_another_one(self, aws: FakeSecretsManager, moment: str) -> None:
        backend = opened(aws)
        first = write(backend, "1").version

        def replaced(_: object) -> None:
            aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
            aws.client().create_secret(Name=NAME, SecretString="theirs")

        aws.before(moment, replaced)
        assert expect_conflict(backend, first).found == read(backend).version
        assert text_of(backend) == "theirs"

    def test_an_old_view_of_what_is_current_is_a_conflict_that_does_not_name_it(self, aws: FakeSecretsManager) -> None:
        """Refused over a version that is then seen as the current one: the error does not say that it was found."""
        backend = opened(aws)
        first = write(backend, "1").version
        aws.fail(MOVE, "InvalidParameterException")
        assert expect_conflict(backend, first).found is None

    def test_who_may_not_move_labels_is_denied_and_changes_nothing(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        aws.deny(MOVE)
        with pytest.raises(AccessDeniedError):
            write(backend, "2", first)
        assert read(backend).version == first


class TestLostAnswers:
    @pytest.mark.parametrize("operation", [LOOK, PUT, MOVE])
    def test_a_write_whose_answer_was_lost_is_done_once(self, aws: FakeSecretsManager, operation: str) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        aws.after(operation, times=2)
        result = write(backend, "2", first)
        assert aws.secret(NAME).stages == {result.version: ["AWSCURRENT"], first: ["AWSPREVIOUS"]}
        assert tokens(aws) == {first, result.version}
        assert list(aws.secret(NAME).versions) == [first, result.version]

    def test_a_write_that_was_written_over_after_a_lost_answer_was_one(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        aws.after(MOVE, lambda _: put(aws, "theirs"))
        result = write(backend, "2", first)
        assert aws.secret(NAME).stages[result.version] == ["AWSPREVIOUS"]
        assert text_of(backend) == "theirs"

    def test_a_write_that_was_deleted_after_a_lost_answer_was_one(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        aws.after(MOVE, lambda _: aws.client().delete_secret(SecretId=NAME))
        assert write(backend, "2", first).version in aws.secret(NAME).stages

    @pytest.mark.parametrize("gone", [False, True])
    def test_a_write_that_left_no_trace_after_a_lost_answer_is_reported_as_unknown(
        self, aws: FakeSecretsManager, gone: bool
    ) -> None:
        """Never as a conflict, which says that nothing was written."""
        backend = opened(aws)
        first = write(backend, "1").version

        def others(_: object) -> None:
            if gone:
                aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
            else:
                put(aws, "theirs", times=2)

        aws.after(MOVE, others)
        with pytest.raises(BackendUnavailableError, match="may have been changed"):
            write(backend, "2", first)

    def test_another_write_after_a_request_that_was_only_throttled_is_a_conflict(self, aws: FakeSecretsManager) -> None:
        """It was not done, and the service has said so."""
        backend = opened(aws)
        first = write(backend, "1").version
        aws.fail(MOVE, "ThrottlingException")
        aws.before(MOVE, lambda _: put(aws, "theirs"))
        assert expect_conflict(backend, first).found == read(backend).version

    def test_a_write_that_was_taken_back_and_replaced_after_a_lost_answer_is_no_conflict(
        self, aws: FakeSecretsManager
    ) -> None:
        """It looks as if the other one had written over what we expected at once, and yet ours was current."""
        backend = opened(aws)
        first = write(backend, "1").version

        def take_back(_: object) -> None:
            ours = aws.secret(NAME).holder("AWSCURRENT")
            aws.client().update_secret_version_stage(
                SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=first, RemoveFromVersionId=ours.id
            )
            put(aws, "theirs")

        aws.after(MOVE, take_back)
        with pytest.raises(BackendUnavailableError, match="may have been changed"):
            write(backend, "2", first)
        assert aws.secret(NAME).holder("AWSPREVIOUS").id == first

    @pytest.mark.parametrize("denied", [False, True])
    def test_a_creation_that_was_replaced_by_another_after_a_lost_answer_is_no_conflict(
        self, aws: FakeSecretsManager, denied: bool
    ) -> None:
        backend = opened(aws)

        def replace(_: object) -> None:
            aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
            aws.client().create_secret(Name=NAME, SecretString="theirs")
            if denied:
                aws.deny(LOOK)

        aws.after("CreateSecret", replace)
        with pytest.raises(BackendUnavailableError, match="may have been changed"):
            write(backend, "1", ABSENT)
        assert text_of(backend) == "theirs"

    def test_a_creation_of_what_was_there_before_is_a_conflict_though_an_answer_was_lost(
        self, aws: FakeSecretsManager
    ) -> None:
        backend = opened(aws)
        current = write(backend, "theirs").version
        aws.secret(NAME).created -= 3600.0
        aws.fail_transport("CreateSecret")
        assert expect_conflict(backend, ABSENT).found == current

    def test_a_first_value_is_written_though_the_secret_is_removed_before_it_is_labelled(
        self, aws: FakeSecretsManager
    ) -> None:
        backend = opened(aws)
        aws.client().create_secret(Name=NAME)
        aws.before(MOVE, lambda _: aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True))
        write(backend, "1", ABSENT)
        assert aws.names() == []

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_first_value_that_was_replaced_after_a_lost_answer_is_no_conflict(
        self, aws: FakeSecretsManager, times: int
    ) -> None:
        backend = opened(aws)
        aws.client().create_secret(Name=NAME)
        aws.after(PUT, lambda _: put(aws, "theirs", times))
        if times == 1:
            version = write(backend, "1", ABSENT).version
            assert aws.secret(NAME).holder("AWSPREVIOUS").id == version
        else:
            with pytest.raises(BackendUnavailableError, match="may have been changed"):
                write(backend, "1", ABSENT)
        assert text_of(backend) == "theirs"

    @pytest.mark.parametrize("gone", [False, True])
    def test_a_first_value_that_was_deleted_after_a_lost_answer_is_no_conflict(
        self, aws: FakeSecretsManager, gone: bool
    ) -> None:
        """The first value of a secret is current as soon as it comes, whatever its label."""
        backend = opened(aws)
        aws.client().create_secret(Name=NAME)
        how = {"ForceDeleteWithoutRecovery": True} if gone else {}
        aws.after(PUT, lambda _: aws.client().delete_secret(SecretId=NAME, **how))
        if gone:
            with pytest.raises(BackendUnavailableError, match="may have been changed"):
                write(backend, "1", ABSENT)
        else:
            assert write(backend, "1", ABSENT).version in aws.secret(NAME).stages

    def test_a_first_value_that_was_replaced_and_deleted_after_a_lost_answer_was_written(
        self, aws: FakeSecretsManager
    ) -> None:
        """The service refuses what is sent again, and yet its description shows that it had come."""
        backend = opened(aws)
        aws.client().create_secret(Name=NAME)

        def others(_: object) -> None:
            put(aws, "theirs")
            aws.client().delete_secret(SecretId=NAME)

        aws.after(PUT, others)
        version = write(backend, "1", ABSENT).version
        assert aws.secret(NAME).holder("AWSPREVIOUS").id == version

    def test_a_creation_in_doubt_stays_so_while_its_name_is_waited_for(self, aws: FakeSecretsManager) -> None:
        """It was there for a while; that a later try meets another's secret for certain does not undo that."""
        backend = opened(aws)

        def remove(_: object) -> None:
            aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
            aws.before("CreateSecret", lambda _: aws.client().create_secret(Name=NAME, SecretString="theirs"))

        aws.after("CreateSecret", lambda _: aws.fail("CreateSecret", "ResourceExistsException"))
        aws.before(LOOK, remove)
        with pytest.raises(BackendUnavailableError, match="may have been changed"):
            write(backend, "1", ABSENT)
        assert text_of(backend) == "theirs"

    def test_an_outage_before_the_move_changes_nothing(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        aws.fail_transport(MOVE, times=None)
        with pytest.raises(BackendUnavailableError):
            write(backend, "2", first)
        aws.heal()
        assert read(backend).version == first
        write(backend, "3", first)
        assert text_of(backend) == "3"
        assert CANDIDATE not in labels(aws)

    @pytest.mark.parametrize("how", ["InternalServiceError", "InvalidParameterException", "reset"])
    def test_a_label_that_cannot_be_taken_off_is_no_failure(self, aws: FakeSecretsManager, how: str) -> None:
        """What is written is written; it is tried once."""
        backend = opened(aws)
        first = write(backend, "1").version

        def fail(_: object) -> None:
            if how == "reset":
                aws.fail_transport(MOVE, times=None)
            else:
                aws.fail(MOVE, how, times=None)

        aws.after(MOVE, fail, how="")
        asked(aws)
        second = write(backend, "2", first).version
        assert asked(aws) == [LOOK, PUT, MOVE, MOVE]
        aws.heal()
        assert CANDIDATE in aws.secret(NAME).stages[second]
        write(backend, "3", second)
        assert labels(aws) == {"AWSCURRENT", "AWSPREVIOUS"}


def test_increments_of_many_threads_are_all_kept(either: Any) -> None:
    """Each adds its own, however often it takes; each conflict names both versions."""
    name = f"{secrets.token_hex(4)}/counter"
    backend = opened(either)
    if isinstance(either, FakeSecretsManager):
        # Who is a moment too late leaves a version behind, and here that may come to more than the service keeps.
        either.operations.version_limit = 1000
    write(backend, "0", name=name)

    def increment(_: int) -> list[tuple[str, str, str | None]]:
        conflicts = []
        while True:
            seen = read(backend, name)
            try:
                write(backend, str(int(seen.value.reveal_text()) + 1), seen.version, name=name)
            except VersionConflictError as error:
                conflicts.append((seen.version, error.expected, error.found))
            else:
                return conflicts

    conflicts = [conflict for some in in_threads(THREADS, increment) for conflict in some]
    assert text_of(backend, name) == str(THREADS)
    assert conflicts
    for seen, expected, found in conflicts:
        assert expected == seen
        assert found not in (seen, "absent", None)


def test_of_many_threads_that_create_a_secret_one_does(either: Any) -> None:
    name = f"{secrets.token_hex(4)}/new"
    backend = opened(either)

    def create(number: int) -> str | None:
        try:
            return write(backend, str(number), ABSENT, name=name).version
        except VersionConflictError as error:
            return error.found

    told = in_threads(8, create)
    current = read(backend, name)
    assert told == [current.version] * 8


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("request_number", range(1, 7))
@pytest.mark.parametrize("kind", ["any", "absent", "version", "restored", "absent restored"])
def test_a_crash_at_any_request_blocks_nobody_and_loses_nothing(
    aws: FakeSecretsManager, kind: str, request_number: int, done: bool
) -> None:
    """What is left of it is either the whole write or nothing, and never becomes current later."""
    backend = opened(aws, on_deleted="restore")
    before = None if kind == "absent" else write(backend, "before").version
    if kind in ("restored", "absent restored"):
        delete(backend)
    ours = settings(aws, on_deleted="restore")
    crashing = AwsBackend(ours, CrashingAsker(ours, after=request_number, done=done))
    try:
        write(crashing, "crashed", {"version": before, "absent": ABSENT, "absent restored": ABSENT}.get(kind))
    except CrashError:
        pass
    else:
        assert text_of(backend) == "crashed"
    deleted_or_none = aws.names() == [] or aws.secret(NAME).deleted is not None
    was = ABSENT if deleted_or_none else read(backend).version
    if was is not ABSENT:
        assert text_of(backend) in ("before", "crashed")
    for number in range(3):
        was = write(backend, f"after {number}", was).version
        assert text_of(backend) == f"after {number}"
    assert labels(aws) == {"AWSCURRENT", "AWSPREVIOUS"}
    crashing.close()


@pytest.fixture
def clients(aws: FakeSecretsManager) -> Clients:
    ours = settings(aws)
    return Clients(ours, resolve(ours))


moves = st.tuples(st.integers(0, 2), st.sampled_from(["step"] * 12 + ["crash", "lost", "refused"]))


@profile(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(["version", "version", "absent", "any", "again"]), min_size=3, max_size=3),
    begins=st.sampled_from(["live", "absent", "deleted"]),
    schedule=st.lists(moves, max_size=30),
)
def test_however_writers_meet_the_history_is_what_they_were_told(
    aws: FakeSecretsManager, clients: Clients, kinds: list[str], begins: str, schedule: list[tuple[int, str]]
) -> None:
    """Each that succeeded was current once, after the version that it expected; each conflict never was."""
    aws.heal()
    aws.store.regions.clear()
    ours = settings(aws, on_deleted="restore")
    asker = Asker(ours, resolve(ours))
    asker.clients = clients
    backend = AwsBackend(ours, asker)
    first = write(backend, "first").version if begins != "absent" else None
    if begins == "deleted":
        delete(backend)
    told: list[list[Told]] = [[] for _ in kinds]

    def acting(number: int, kind: str) -> Callable[[AwsBackend], None]:
        return lambda own: _write_as(kind, own, first, f"{number}", told[number])

    actors = [Actor(ours, clients, acting(number, kind)) for number, kind in enumerate(kinds)]
    history: list[tuple[str | None, bool]] = []
    _note(aws, history)
    for number, what in schedule:
        if what == "crash":
            actors[number].crash()
        else:
            if what == "lost":
                aws.after("*")
            elif what == "refused":
                aws.fail("*", "InternalServiceError")
            actors[number].step()
            aws.heal()
        _note(aws, history)
    for actor in actors:
        while not actor.over:
            actor.step()
            _note(aws, history)
    assert [actor.error for actor in actors if not isinstance(actor.error, CrashError | None)] == []
    _check_told([one for some in told for one in some], aws, [current for current, _ in history], first, begins)
    is_live = NAME in aws.names() and aws.secret(NAME).deleted is None
    last = write(backend, "last", read(backend).version if is_live else ABSENT)
    assert read(backend).version == last.version
    assert labels(aws) <= {"AWSCURRENT", "AWSPREVIOUS"}


def _runs(order: list[str | None], version: str) -> int:
    """Return how often a version became the current one."""
    return sum(one == version and (at == 0 or order[at - 1] != version) for at, one in enumerate(order))


def _write_as(kind: str, own: AwsBackend, first: str | None, content: str, told: list[Told]) -> None:
    """Write once, or again over what the first try has shown; note what each try was told."""
    expected: Any = {"any": None, "absent": ABSENT, "version": first or "0" * 32}.get(kind, first or "0" * 32)
    for turn in range(2 if kind == "again" else 1):
        try:
            version = write(own, f"{content}.{turn}", expected).version
        except VersionConflictError as error:
            told.append(("conflict", expected, f"{content}.{turn}"))
            expected = error.found if error.found not in (None, "absent") else ABSENT
        except BackendUnavailableError:
            told.append(("unknown", expected, f"{content}.{turn}"))
            return
        else:
            told.append(("done", expected, f"{content}.{turn}"))
            expected = version


def _note(aws: FakeSecretsManager, history: list[tuple[str | None, bool]]) -> None:
    """Note which version is current, and whether the secret is deleted, if that has changed."""
    found = aws.secret(NAME) if NAME in aws.names() else None
    holder = found.holder("AWSCURRENT") if found is not None else None
    now = (None if holder is None else holder.id, found is not None and found.deleted is not None)
    if not history or history[-1] != now:
        history.append(now)


def _check_told(
    told: list[Told], aws: FakeSecretsManager, order: list[str | None], first: str | None, begins: str
) -> None:
    """Look whether the versions that were current, in their order, are those of which the writers were told so."""
    versions = aws.secret(NAME).versions if NAME in aws.names() else {}
    made = {version.value["SecretString"]: version.id for version in versions.values()}
    for outcome, expected, content in told:
        version = made.get(content)
        times = order.count(version) if version is not None else 0
        if outcome == "conflict":
            assert times == 0, f"{content} was a conflict, and was current"
        elif outcome == "done":
            assert version is not None
            assert _runs(order, version) == 1, f"{content} was written, and was current {times} times"
            assert expected is not ABSENT or begins != "live"
            if expected is not None:
                before = (None, first) if expected is ABSENT else (expected,)
                assert order[order.index(version) - 1] in before
