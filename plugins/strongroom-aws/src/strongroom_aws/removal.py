"""Deleting secrets, bringing them back, and removing them for good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from strongroom.contracts import (
    DeleteRequest,
    DeleteResult,
    DestroyRequest,
    DestroyResult,
    UndeleteRequest,
    UndeleteResult,
)
from strongroom.errors import BackendError, SecretDeletedError, StrongroomError, UnsupportedOperationError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names, is_version
from strongroom_aws.outcomes import Outcome, missing, outcome_of, refused, refused_at
from strongroom_aws.patience import Patience
from strongroom_aws.reasons import explained, replicated
from strongroom_aws.replication import Replication
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import Seen, look
from strongroom_aws.values import utc

_DAY: Final = 86_400.0


class Removal:
    """Removes secrets as wholes: the service removes single versions by itself only.

    Args:
        asker: Asks the service.
        names: Spells the names.
        replication: Ends and begins the replication to other regions.
        recovery_window: For how many seconds what is deleted can be brought back; 0 to delete it at once.
    """

    def __init__(self, asker: Asker, names: Names, replication: Replication, recovery_window: float) -> None:
        self._asker = asker
        self._names = names
        self._replication = replication
        self._days = round(recovery_window / _DAY)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Schedule a secret for deletion, or delete it at once; see ``Backend.delete``.

        One request. At once: two, since the service does not say whether there was anything to delete. Four more if
        there are replicas, all of them in regions of ``replicate``: they are removed first, and for good.

        Raises:
            UnsupportedOperationError: It has other replicas, or is one, or belongs to another service of AWS.
            BackendUnavailableError: An outage, or its replicas are still being removed (code ``busy``).
        """
        return self._schedule(request.name) if self._days else self._delete_now(request.name)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a secret back with all its versions; see ``Recoverable.undelete``.

        Two requests, and one more if it lacks replicas that the settings name. It is restored even if it does not
        look deleted: what we see may be older than the deletion.

        Raises:
            SecretNotFoundError: There is no such secret.
            SecretDeletedError: It is being deleted at once (code ``destroyed``).
            UnsupportedOperationError: An older version is asked for, and a newer one is current; or it is a replica.
            StrongroomError: It is back, but could not be replicated, which another try makes up for.
        """
        name, what = request.name, f"bringing {request.name} back"
        seen = self._look(name, what)
        if isinstance(seen, Refusal):
            raise refused_at(seen, what, name)
        version = _current(name, seen, request.version)
        answer = self._asker.ask("RestoreSecret", {"SecretId": self._names.id_of(name)}, what=what, expects="ARN")
        if isinstance(answer, Refusal):
            seen = self._kept_back(answer, name, what)
        self._replication.begin(name, seen)
        return UndeleteResult(version=version, request_id=answer.request_id)

    def _kept_back(self, refusal: Refusal, name: SecretName, what: str) -> Seen:
        """Return the description of a secret that was not restored since it is there; raise if it is not."""
        outcome = outcome_of(refusal)
        if outcome is Outcome.NOT_FOUND:
            raise missing(name)
        seen = self._look(name, what)
        if outcome is not Outcome.STATE:
            raise explained(refusal, seen, name, what=what)
        if isinstance(seen, Seen) and seen.deleted is None:
            return seen
        raise SecretDeletedError(
            f"{name} is being deleted at once, and nothing brings it back", code="destroyed", name=name
        )

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove a secret for good, deleted or not; see ``Recoverable.destroy``. Two requests.

        Four more if it has replicas, as in :meth:`delete`.

        Raises:
            UnsupportedOperationError: Versions are named; or it has other replicas than those of ``replicate``, or is
                one, or belongs to another service of AWS.
            BackendUnavailableError: An outage, or its replicas are still being removed (code ``busy``).
        """
        name, what = request.name, f"destroying {request.name}"
        if request.versions:
            raise UnsupportedOperationError(
                f"AWS Secrets Manager destroys no single versions, such as one of {name}",
                name=name,
                hint="destroy the secret as a whole; the service removes old versions by itself",
            )
        seen = self._look(name, what)
        return DestroyResult(existed=_was_there(seen), request_id=self._force(name, seen, what))

    def _schedule(self, name: SecretName, *, again: bool = True) -> DeleteResult:
        what = f"deleting {name}"
        answer = self._remove(name, {"RecoveryWindowInDays": self._days}, what)
        if isinstance(answer, Reply):
            until = utc(answer.data["DeletionDate"])
            return DeleteResult(existed=True, recoverable_until=until, request_id=answer.request_id)
        if outcome_of(answer) is Outcome.NOT_FOUND:
            return DeleteResult(existed=False, request_id=answer.request_id)
        if outcome_of(answer) not in (Outcome.STATE, Outcome.INVALID):
            raise refused(answer, what, name=name)
        seen = self._look(name, what)
        if isinstance(seen, Refusal) and outcome_of(seen) is Outcome.NOT_FOUND:
            return DeleteResult(existed=False, request_id=answer.request_id)
        if isinstance(seen, Refusal) or seen.deleted is None:
            error = _kept(answer, seen, name, what)
            is_live = isinstance(seen, Seen) and outcome_of(answer) is Outcome.STATE
            if again and is_live and isinstance(error, BackendError):
                # It was scheduled already, and somebody has brought it back between the two requests.
                return self._schedule(name, again=False)
            raise error
        # After a lost answer, it is most likely this call that has scheduled it.
        return DeleteResult(
            existed=answer.unsure, recoverable_until=_still_to_come(seen.deleted), request_id=answer.request_id
        )

    def _delete_now(self, name: SecretName) -> DeleteResult:
        what = f"deleting {name}"
        seen = self._look(name, what)
        if isinstance(seen, Seen) and seen.deleted is not None:
            # Whoever has deleted it wanted a recovery window: only destroying it ends that.
            until = _still_to_come(seen.deleted)
            return DeleteResult(existed=False, recoverable_until=until, request_id=seen.request_id)
        return DeleteResult(existed=_was_there(seen), request_id=self._force(name, seen, what))

    def _force(self, name: SecretName, seen: Seen | Refusal, what: str) -> str | None:
        """Remove a secret without a recovery window, even if nothing was seen: what we see may be old."""
        answer = self._remove(name, {"ForceDeleteWithoutRecovery": True}, what)
        if isinstance(answer, Refusal) and outcome_of(answer) is not Outcome.NOT_FOUND:
            raise _kept(answer, seen, name, what)
        return answer.request_id

    def _remove(self, name: SecretName, how: dict[str, Any], what: str) -> Reply | Refusal:
        """Remove a secret, and its replicas first if that is why it is not removed."""
        patience = Patience(self._asker, name, "its replicas are still being removed")
        ended = False
        while True:
            parameters = {"SecretId": self._names.id_of(name), **how}
            answer = self._asker.ask("DeleteSecret", parameters, what=what, expects="DeletionDate")
            in_the_way = isinstance(answer, Refusal) and outcome_of(answer) is Outcome.INVALID
            if not in_the_way or not self._replication.concerns(name):
                return answer
            if self._replication.end(name, patience, what=what):
                ended = True
            elif ended or not patience.tries:
                patience.wait()  # they are not shown any more, but not gone yet, or somebody else has removed them
            else:
                return answer

    def _look(self, name: SecretName, what: str) -> Seen | Refusal:
        return look(self._asker, self._names, name, what=what)


def _was_there(seen: Seen | Refusal) -> bool:
    """Tell whether there was a secret; whoever may remove, but not look, is told that there was."""
    return isinstance(seen, Seen) or outcome_of(seen) is not Outcome.NOT_FOUND


def _kept(refusal: Refusal, seen: Seen | Refusal, name: SecretName, what: str) -> StrongroomError:
    """Return the error for a secret that the service does not remove."""
    invalid = outcome_of(refusal) is Outcome.INVALID and isinstance(seen, Seen)
    has_replicas = replicated(name, seen) if invalid and isinstance(seen, Seen) else None
    return has_replicas or explained(refusal, seen, name, what=what)


def _current(name: SecretName, seen: Seen, version: str | None) -> str:
    """Return the version that is current, or will be: no other one can be brought back."""
    current = seen.current
    if version is not None and version != current and not is_version(version):
        raise missing(name, version)
    if current is None:
        raise missing(name, version)
    if version not in (None, current):
        raise UnsupportedOperationError(
            f"version {version} of {name} cannot be brought back: its current one is {current}",
            name=name,
            hint="read that version, if it is kept, and write it anew",
        )
    return current


def _still_to_come(when: datetime | None) -> datetime | None:
    """Return until when a secret can be brought back, by the date that its description gives.

    The service's reference calls that date now the end of the recovery window, now the time of the deletion. The
    latter says nothing of the former.
    """
    return when if when is not None and when > datetime.now(UTC) else None
