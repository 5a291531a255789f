"""The replicas of a secret that is deleted or brought back."""

from __future__ import annotations

from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names
from strongroom_aws.outcomes import NOT_AS_SAID, Outcome, outcome_of, refused, scheduled
from strongroom_aws.patience import Patience
from strongroom_aws.reasons import explained, regions_of, replicated
from strongroom_aws.replies import Refusal
from strongroom_aws.seen import Seen, look


class Replication:
    """Ends the replication of what is deleted, and begins it again for what comes back.

    It is about the regions of the settings. A secret that has replicas elsewhere as well got them from somebody else,
    and so did one that is known by its ARN: nothing of theirs is removed, or replicated.

    Args:
        asker: Asks the service.
        names: Spells the names.
        regions: Those to which new secrets are replicated.
    """

    def __init__(self, asker: Asker, names: Names, regions: tuple[str, ...]) -> None:
        self._asker = asker
        self._names = names
        self._regions = regions

    def concerns(self, name: SecretName) -> bool:
        """Tell whether there are regions in which a secret is to have replicas."""
        return bool(self._wanted(name))

    def end(self, name: SecretName, patience: Patience, *, what: str) -> bool:
        """Remove a secret's replicas, and wait until they are gone; tell whether it had any.

        Two requests, and one more each time the service is not done yet; none if the settings name no regions.

        Args:
            name: The secret's name.
            patience: How long to wait.
            what: What is tried, for errors.

        Raises:
            UnsupportedOperationError: It has replicas in regions that the settings do not name; all are left.
            BackendUnavailableError: An outage, or the service takes too long (code ``busy``).
        """
        regions = self._left(name, what) if self.concerns(name) else []
        if not regions:
            return False
        parameters = {"SecretId": self._names.id_of(name), "RemoveReplicaRegions": regions}
        answer = self._asker.ask("RemoveRegionsFromReplication", parameters, what=what, expects="ARN")
        # Somebody else may be about to do the same.
        if isinstance(answer, Refusal) and outcome_of(answer) not in NOT_AS_SAID:
            raise refused(answer, what, name=name)
        while regions:
            patience.wait()
            regions = self._left(name, what)
        return True

    def begin(self, name: SecretName, seen: Seen) -> None:
        """Replicate a secret that is back to the regions where it has no replica. One request, or none.

        Args:
            name: The secret's name.
            seen: Its description.

        Raises:
            StrongroomError: The service refuses it, or has an outage: the secret is back without.
        """
        missing = self._missing(name, seen)
        if not missing:
            return
        what = f"replicating {name}, which is back,"
        added = [{"Region": region} for region in missing]
        parameters = {"SecretId": self._names.id_of(name), "AddReplicaRegions": added}
        answer = self._asker.ask("ReplicateSecretToRegions", parameters, what=what, expects="ARN")
        if not isinstance(answer, Refusal):
            return
        if outcome_of(answer) not in NOT_AS_SAID:
            raise refused(answer, what, name=name)
        now = look(self._asker, self._names, name, what=what)
        if isinstance(now, Seen) and now.deleted is not None:
            raise scheduled(name, now.deleted.isoformat())  # by somebody else, meanwhile
        if isinstance(now, Refusal) or self._missing(name, now):
            raise explained(answer, now, name, what=what)

    def _wanted(self, name: SecretName) -> tuple[str, ...]:
        return () if self._names.is_alias(name) else self._regions

    def _missing(self, name: SecretName, seen: Seen) -> list[str]:
        there = regions_of(seen)
        return [region for region in self._wanted(name) if region not in there]

    def _left(self, name: SecretName, what: str) -> list[str]:
        """Return the regions in which a secret has replicas; raise if one is none of ours."""
        seen = look(self._asker, self._names, name, what=what)
        if isinstance(seen, Refusal):
            if outcome_of(seen) is Outcome.NOT_FOUND:
                return []
            raise refused(seen, what, name=name)
        regions = regions_of(seen)
        error = replicated(name, seen)
        if error is not None and not set(regions) <= set(self._wanted(name)):
            raise error
        return regions
