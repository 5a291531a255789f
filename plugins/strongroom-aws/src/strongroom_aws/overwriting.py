"""Writing over the version that is expected, and over no other."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import Record, WriteResult
from strongroom.errors import BackendUnavailableError, StrongroomError, VersionConflictError
from strongroom.model import SecretName, SecretValue
from strongroom_aws.asking import Asker
from strongroom_aws.labels import Labels
from strongroom_aws.names import Names
from strongroom_aws.outcomes import NOT_AS_SAID, Outcome, outcome_of, refused
from strongroom_aws.reasons import explained
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import CURRENT, Seen, look
from strongroom_aws.values import sent

CANDIDATE: Final = "STRONGROOM_CANDIDATE"
"""The label under which a value comes before it is current. It is the same for all: what is left of a write that
stopped halfway is one label on a version that nobody reads, and the next such write takes it from there."""
ABSENT_TEXT: Final = "absent"


class Draft(Record):
    """One logical write, however many requests it takes."""

    name: SecretName
    value: SecretValue
    token: str
    """By this the service knows each of its requests again; the new version is called so."""

    @property
    def what(self) -> str:
        """What is tried, for errors."""
        return f"writing {self.name}"

    def result(self, request_id: str | None) -> WriteResult:
        """Return what the write has made."""
        return WriteResult(version=self.token, request_id=request_id)


class Overwriting:
    """Writes over an expected version.

    The value comes as a version that nobody reads. Then AWSCURRENT moves to it from the version that is expected,
    which the service does only if it is there: of several writers that expect the same one, one gets through,
    wherever any of them stops.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names
        self._labels = Labels(asker, names)

    def write(self, draft: Draft, expected: str) -> WriteResult:
        """Write if a version is the current one. Four requests.

        The service is asked first which version is current: most conflicts end there, and leave no version behind.
        There is only so much room for versions in a day. A write that is sent again, since nobody has seen what became
        of it, is found there, too.

        Raises:
            VersionConflictError: It is not, or there is no secret, or only a deleted one.
            BackendUnavailableError: An outage, or an answer was lost and nobody can tell any more.
        """
        seen = look(self._asker, self._names, draft.name, what=draft.what)
        if isinstance(seen, Refusal) and outcome_of(seen) is not Outcome.NOT_FOUND:
            raise refused(seen, draft.what, name=draft.name)
        if isinstance(seen, Seen) and seen.deleted is None and draft.token in (seen.current, seen.previous):
            # It was made when it was sent before. Moving the label once more would undo what came after.
            return draft.result(seen.request_id)
        # What has no current version has none that could be expected, whatever a caller calls that.
        if isinstance(seen, Refusal) or seen.deleted is not None or seen.current != expected:
            raise conflict(draft.name, expected, seen)
        return self.over(draft, expected, expected=expected)

    def over(self, draft: Draft, current: str | None, *, expected: str) -> WriteResult:
        """Write if AWSCURRENT is where it was seen. Three requests.

        Args:
            draft: The write.
            current: The version that has it; ``None`` if none has.
            expected: What the caller expects, for the error: a version, or ``absent``.

        Raises:
            VersionConflictError: It is somewhere else by now.
            BackendUnavailableError: An outage, or an answer was lost and nobody can tell any more.
        """
        answer = self._asker.ask(
            "PutSecretValue",
            {
                "SecretId": self._names.id_of(draft.name),
                "ClientRequestToken": draft.token,
                "VersionStages": [CANDIDATE],
                **sent(draft.value),
            },
            what=draft.what,
            expects="ARN",
        )
        if isinstance(answer, Refusal):
            return self._not_kept(answer, draft, current, expected)
        outcome: WriteResult | StrongroomError
        if CURRENT in answer.data.get("VersionStages", ()):
            outcome = draft.result(answer.request_id)  # the first value that a secret gets is current at once
        else:
            outcome = self._promoted(draft, current, expected, in_doubt=current is None and answer.resends > 0)
        # Where nothing else has taken it; what was written holds without that.
        self._labels.take_off(draft.name, CANDIDATE, draft.token)
        if isinstance(outcome, StrongroomError):
            raise outcome
        return outcome

    def _promoted(
        self, draft: Draft, current: str | None, expected: str, *, in_doubt: bool
    ) -> WriteResult | StrongroomError:
        """Make the new version the current one; if in doubt, it may have been that before."""
        answer = self._labels.move(draft.name, CURRENT, to=draft.token, left=current, what=draft.what)
        if isinstance(answer, Reply):
            return draft.result(answer.request_id)
        if outcome_of(answer) not in NOT_AS_SAID:
            return refused(answer, draft.what, name=draft.name)
        seen = look(self._asker, self._names, draft.name, what=draft.what)
        if isinstance(seen, Refusal):
            if outcome_of(seen) is not Outcome.NOT_FOUND:
                return refused(seen, draft.what, name=draft.name)
            return unsure(draft) if in_doubt or answer.unsure else conflict(draft.name, expected, seen)
        if draft.token in (seen.current, seen.previous):
            # It worked when it was sent before, and that answer was lost.
            return draft.result(seen.request_id)
        # Even if AWSCURRENT went elsewhere from where it was: it may have been with us, and taken back, in between.
        return unsure(draft) if in_doubt or answer.unsure else conflict(draft.name, expected, seen)

    def _not_kept(self, refusal: Refusal, draft: Draft, current: str | None, expected: str) -> WriteResult:
        """Raise the error for a value that the service has not taken, or find that it has, which is current then.

        Only the first value of a secret is current as soon as it comes.
        """
        outcome = outcome_of(refusal)
        if outcome not in NOT_AS_SAID:
            raise refused(refusal, draft.what, name=draft.name)
        seen = look(self._asker, self._names, draft.name, what=draft.what)
        if isinstance(seen, Seen) and draft.token in (seen.current, seen.previous):
            return draft.result(seen.request_id)
        if current is None and refusal.unsure:
            raise unsure(draft)
        gone = isinstance(seen, Refusal) and outcome_of(seen) is Outcome.NOT_FOUND
        if gone or (isinstance(seen, Seen) and (seen.deleted is not None or outcome is Outcome.NOT_FOUND)):
            raise conflict(draft.name, expected, seen)
        raise explained(refusal, seen, draft.name, what=draft.what)


def current_of(seen: Seen | Refusal) -> str:
    """Return the version that a reader gets; ``absent`` if there is none, or only one that is deleted."""
    if isinstance(seen, Refusal) or seen.deleted is not None:
        return ABSENT_TEXT
    return seen.current or ABSENT_TEXT


def conflict(name: SecretName, expected: str, seen: Seen | Refusal | None) -> VersionConflictError:
    """Return the error for a write that came too late.

    Args:
        name: The secret's name.
        expected: The version that was expected, or ``absent``.
        seen: What is there; ``None`` if we are not let see.
    """
    found = None if seen is None else current_of(seen)
    # The service has refused it, so this was not so then: what we see is older, or has come back since.
    found = None if found == expected else found
    told = "there is none" if found == ABSENT_TEXT else f"version {found} is there" if found else "another was there"
    return VersionConflictError(
        f"version {expected} of {name} was expected, and {told}",
        expected=expected,
        found=found,
        name=name,
        hint="read it again, and decide anew",
    )


def unsure(draft: Draft) -> BackendUnavailableError:
    """Return the error for a write of which nobody can tell whether it was made."""
    return BackendUnavailableError(
        f"an answer to {draft.what} was lost, and others have written since: what was to be changed may have been"
        " changed",
        name=draft.name,
        hint="read it before trying again",
    )
