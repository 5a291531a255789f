"""Creating and updating secrets."""

from __future__ import annotations

import uuid

from datetime import UTC, datetime
from typing import Any, Final

from strongroom.contracts import WriteRequest, WriteResult
from strongroom.errors import ConfigurationError, SecretNotFoundError
from strongroom.model import ABSENT, SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.changes import DRIFT
from strongroom_aws.names import Names
from strongroom_aws.outcomes import Outcome, outcome_of, refused, scheduled
from strongroom_aws.overwriting import ABSENT_TEXT, Draft, Overwriting, conflict, unsure
from strongroom_aws.patience import Patience
from strongroom_aws.reasons import explained
from strongroom_aws.replication import Replication
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import Seen, look
from strongroom_aws.settings import AwsSettings
from strongroom_aws.stages import check_token
from strongroom_aws.values import check_size, sent, utc

_SOON: Final = 600.0
"""Seconds: a deletion whose date is no further from now than this may be one that is under way."""
_IN_THE_WAY: Final = frozenset({Outcome.EXISTS, Outcome.STATE})
"""What the service, or an emulator of it, says of a name that is taken or scheduled for deletion."""


class Writing:
    """Writes secrets.

    Each logical write has a token over all its requests, its own or the caller's: the service makes one version of it
    at most.
    What an existing secret has beside its value is left as it is: its key, its description, its tags, its policy.

    Args:
        asker: Asks the service.
        names: Spells the names.
        settings: The backend's settings.
        replication: Begins the replication of what is restored.
    """

    def __init__(self, asker: Asker, names: Names, settings: AwsSettings, replication: Replication) -> None:
        self._asker = asker
        self._names = names
        self._settings = settings
        self._replication = replication
        self._overwriting = Overwriting(asker, names)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``.

        Requests: one for an update, two for a new secret, one for a new secret where none is expected, four over an
        expected version.

        A name that is scheduled for deletion is refused, or restored first, as ``on_deleted`` says. Between that and
        the write, the old value can be read; and what somebody else restores in that moment is written over even if
        no secret was expected.

        Raises:
            InvalidNameError, InvalidValueError, ValueTooLargeError: It cannot be kept; nothing was sent.
            VersionConflictError: The current version is not the expected one.
            SecretDeletedError: The name is scheduled for deletion (code ``deletion_scheduled``).
            SecretNotFoundError: The name stands for a secret of ``arns``, which is not there.
            UnsupportedOperationError: It is a replica, or belongs to another service of AWS.
            BackendUnavailableError: An outage, or the name is still being deleted (code ``busy``), or an answer was
                lost and nobody can tell any more whether it was written.
        """
        check_size(request.name, request.value)
        if request.token is not None:
            check_token(request.token, request.name)
        draft = Draft(name=request.name, value=request.value, token=request.token or str(uuid.uuid4()))
        if request.expect_version is None:
            return self._write(draft)
        if request.expect_version is ABSENT:
            return self._create(draft)
        return self._overwriting.write(draft, str(request.expect_version))

    def _write(self, draft: Draft) -> WriteResult:
        """Write, whatever is there."""
        patience = Patience(self._asker, draft.name)
        while True:
            answer = self._put(draft)
            if isinstance(answer, Refusal) and outcome_of(answer) is Outcome.NOT_FOUND:
                answer = self._put_new(draft)
            if isinstance(answer, Reply):
                return draft.result(answer.request_id)
            self._make_way(draft, answer, patience)

    def _make_way(self, draft: Draft, refusal: Refusal, patience: Patience) -> None:
        """Do what lets a write be tried again, or raise why it cannot be."""
        outcome = outcome_of(refusal)
        if outcome not in _IN_THE_WAY and outcome is not Outcome.INVALID:
            raise refused(refusal, draft.what, name=draft.name)
        seen = look(self._asker, self._names, draft.name, what=draft.what)
        if isinstance(seen, Seen) and seen.deleted is not None:
            self._restored(draft, seen, patience)
        elif outcome is Outcome.EXISTS or (outcome is Outcome.STATE and _is_passing(seen, patience)):
            # Somebody has created, restored or removed it meanwhile.
            patience.wait()
        else:
            raise explained(refusal, seen, draft.name, what=draft.what)

    def _create(self, draft: Draft) -> WriteResult:
        """Write if there is no secret, or only a deleted one, or one without a value."""
        patience = Patience(self._asker, draft.name)
        begun = datetime.now(UTC)
        in_doubt = False
        while True:
            # An alias is never created: to see what is there is all that can be done.
            refusal = None if self._names.is_alias(draft.name) else self._put_new(draft)
            if isinstance(refusal, Reply):
                return draft.result(refusal.request_id)
            if refusal is not None and outcome_of(refusal) not in _IN_THE_WAY:
                raise refused(refusal, draft.what, name=draft.name)
            in_doubt = in_doubt or (refusal is not None and refusal.unsure)
            seen = look(self._asker, self._names, draft.name, what=draft.what)
            if isinstance(seen, Refusal):
                self._wait_unseen(draft, seen, refusal, patience, in_doubt=in_doubt)
            elif draft.token in (seen.current, seen.previous):
                # It worked when it was sent before, and that answer was lost.
                return draft.result(seen.request_id)
            elif seen.deleted is None and seen.current is not None:
                if in_doubt and not _is_older(seen, begun):
                    raise unsure(draft)  # it may have been created, removed, and created again by somebody else
                raise conflict(draft.name, ABSENT_TEXT, seen)
            elif seen.deleted is None or self._restored(draft, seen, patience):
                # Of several who find it so, one gets through.
                return self._overwriting.over(draft, seen.current, expected=ABSENT_TEXT)

    def _wait_unseen(
        self, draft: Draft, unseen: Refusal, refusal: Refusal | None, patience: Patience, *, in_doubt: bool
    ) -> None:
        """Wait for a name that is taken although nothing is there, or raise if that is not how it is."""
        if outcome_of(unseen) is Outcome.NOT_FOUND:
            if refusal is None:
                raise _no_alias(draft.name)
            patience.wait()
        elif in_doubt:
            raise unsure(draft)
        elif refusal is not None and outcome_of(refusal) is Outcome.EXISTS:
            raise conflict(draft.name, ABSENT_TEXT, None)
        else:
            raise refused(unseen, draft.what, name=draft.name)

    def _restored(self, draft: Draft, seen: Seen, patience: Patience) -> bool:
        """Restore a secret that is scheduled for deletion, if that is wanted; else wait if it will soon be gone."""
        if self._settings.on_deleted == "restore":
            answer = self._asker.ask(
                "RestoreSecret", {"SecretId": self._names.id_of(draft.name)}, what=draft.what, expects="ARN"
            )
            if isinstance(answer, Reply):
                patience.check()
                self._replication.begin(draft.name, seen)
                return True
            if outcome_of(answer) not in (Outcome.NOT_FOUND, Outcome.STATE):
                raise explained(answer, seen, draft.name, what=draft.what)
        elif self._settings.recovery_window or not _is_soon(seen.deleted):
            raise scheduled(draft.name, seen.deleted.isoformat() if seen.deleted else None)
        # It is being deleted at once, which takes the service a moment.
        patience.wait()
        return False

    def _put(self, draft: Draft) -> Reply | Refusal:
        return self._asker.ask(
            "PutSecretValue",
            {
                "SecretId": self._names.id_of(draft.name),
                "ClientRequestToken": draft.token,
                **sent(draft.value),
            },
            what=draft.what,
            expects="ARN",
        )

    def _put_new(self, draft: Draft) -> Reply | Refusal:
        if self._names.is_alias(draft.name):
            raise _no_alias(draft.name)
        answer = self._asker.ask(
            "CreateSecret",
            {
                "Name": self._names.spell(draft.name),
                "ClientRequestToken": draft.token,
                **self._beside(),
                **sent(draft.value),
            },
            what=draft.what,
            expects="ARN",
        )
        if isinstance(answer, Refusal) and outcome_of(answer) is Outcome.NOT_FOUND:
            raise ConfigurationError(
                f"AWS refused {draft.what}: there is no such KMS key as the new secret would have",
                hint="check kms_key_id: a key of this region, by its id, its ARN or its alias",
            )
        return answer

    def _beside(self) -> dict[str, Any]:
        """Return what a new secret gets beside its value."""
        settings = self._settings
        wished = {
            "KmsKeyId": settings.kms_key_id,
            "Description": settings.description,
            "Tags": [{"Key": key, "Value": value} for key, value in settings.tags.items()],
            "AddReplicaRegions": [{"Region": region} for region in settings.replicate],
        }
        return {key: value for key, value in wished.items() if value}


def _is_passing(seen: Seen | Refusal, patience: Patience) -> bool:
    """Tell whether the state that was in the way may be over by now."""
    if isinstance(seen, Refusal):
        return outcome_of(seen) is Outcome.NOT_FOUND
    return not patience.tries and not seen.data.get("OwningService")


def _is_older(seen: Seen, moment: datetime) -> bool:
    """Tell whether a secret had been made before a moment for certain, though clocks differ."""
    created = utc(seen.data.get("CreatedDate"))
    return created is not None and created < moment - DRIFT


def _is_soon(when: datetime | None) -> bool:
    return when is not None and abs((when - datetime.now(UTC)).total_seconds()) < _SOON


def _no_alias(name: SecretName) -> SecretNotFoundError:
    return SecretNotFoundError(
        f"the secret that `arns` gives the name {name} is not there, and none is created under such a name",
        name=name,
        hint="check its ARN under `arns`, or leave the name out there",
    )
