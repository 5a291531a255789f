"""Whether the service can be asked with our credentials, within a few seconds and without reading a secret."""

from __future__ import annotations

import threading

from typing import Final

from strongroom.contracts import Health, HealthState
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.joining import join
from strongroom.telemetry import quiet
from strongroom_aws.asking import Asker
from strongroom_aws.outages import Outage
from strongroom_aws.outcomes import Outcome, outcome_of, refused
from strongroom_aws.replies import Refusal, Reply

LIMIT: Final = 5.0
"""How many seconds it all may take at most."""
_WHAT: Final = "listing one secret"

Facts = tuple[tuple[str, str], ...]


class Examination:
    """Examines the usual region, and the replicas if that does not answer.

    Args:
        asker: Asks the service.
        outage: Whether the usual region is left alone now.
        account: The account's digits, if they are known.
    """

    def __init__(self, asker: Asker, outage: Outage, account: str | None) -> None:
        self._asker = asker
        self._outage = outage
        self._account = account

    def health(self) -> Health:
        """Say how the service is: one list of one secret is asked for, which tells whether our credentials are good."""
        place = self._asker.place
        limit = min(LIMIT, self._asker.timeout) / (2.0 if place.replicas else 1.0)
        (outcome,) = self._outcomes((place.region,), limit)
        if isinstance(outcome, BackendUnavailableError) and outcome.code != "rate_limited":
            return self._without_usual(outcome, limit)
        if isinstance(outcome, StrongroomError):
            slow = isinstance(outcome, BackendUnavailableError)
            return self._told(HealthState.DEGRADED if slow else HealthState.DOWN, outcome)
        allowed = isinstance(outcome, Reply)
        facts = self._facts(outcome, ("listing", "allowed" if allowed else "not allowed"))
        if not self._outage.is_on:
            return Health(state=HealthState.UP, facts=facts)
        return Health(
            state=HealthState.DEGRADED,
            reason=f"AWS Secrets Manager in {place.region} had an outage, and reads still go to replicas first",
            hint="it is tried again with one of the next reads",
            facts=facts,
        )

    def _without_usual(self, outage: StrongroomError, limit: float) -> Health:
        """Return the health of a service whose usual region does not answer."""
        replicas = self._asker.place.replicas
        answering = [
            region
            for region, outcome in zip(replicas, self._outcomes(replicas, limit), strict=True)
            if not isinstance(outcome, StrongroomError)
        ]
        if not answering:
            return self._told(HealthState.DOWN, outage)
        return Health(
            state=HealthState.DEGRADED,
            reason=f"{outage.what}; reads go to {', '.join(answering)}",
            hint="writes and lists need the usual region",
            facts=self._facts(None, ("replicas_answering", ", ".join(answering))),
        )

    def _outcomes(self, regions: tuple[str, ...], limit: float) -> list[Reply | Refusal | StrongroomError]:
        """Ask regions at the same time; return what has come of it within so many seconds.

        Finding credentials may be a part of it, for which others are asked: no time limit of ours ends that early.
        """
        outcomes: dict[str, Reply | Refusal | StrongroomError] = {}

        def ask(region: str) -> None:
            # Not only around the request: finding credentials anew asks others, too.
            with quiet():
                outcomes[region] = self._asked(region)

        threads = [
            threading.Thread(target=ask, args=(region,), name="strongroom-aws-health", daemon=True)
            for region in regions
        ]
        for thread in threads:
            thread.start()
        end = self._asker.clock() + limit
        for thread in threads:
            join(thread, max(0.0, end - self._asker.clock()))
        return [outcomes.get(region) or self._too_late(region, limit) for region in regions]

    def _asked(self, region: str) -> Reply | Refusal | StrongroomError:
        try:
            answer = self._asker.ask("ListSecrets", {"MaxResults": 1}, what=_WHAT, region=region, attempts=1)
        except StrongroomError as error:
            return error.with_traceback(None)
        if isinstance(answer, Reply) or outcome_of(answer) is Outcome.DENIED:
            return answer
        return refused(answer, _WHAT)

    @staticmethod
    def _too_late(region: str, limit: float) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"AWS Secrets Manager in {region} did not answer within {limit:g} s for {_WHAT}",
            code="timeout",
            hint="see whether the network lets us through, and whether what gives out credentials answers",
        )

    def _told(self, state: HealthState, error: StrongroomError) -> Health:
        return Health(state=state, reason=error.what, hint=error.hint, facts=self._facts(None))

    def _facts(self, outcome: Reply | Refusal | StrongroomError | None, *further: tuple[str, str]) -> Facts:
        place, counts = self._asker.place, self._asker.counts
        facts = [("region", place.region), ("region_from", place.said_by)]
        host, account = self._asker.host, self._account or _account_of(outcome)
        facts += [("endpoint", host)] if host else []
        facts += [("account", account)] if account else []
        facts += further
        facts += [("replicas", ", ".join(place.replicas))] if place.replicas else []
        if self._outage.is_on:
            facts.append(("left_alone_seconds", f"{self._outage.seconds_left:.0f}"))
        return (
            *facts,
            ("requests", str(counts.requests)),
            ("retries", str(counts.resends)),
            ("throttled", str(counts.throttled)),
        )


def _account_of(outcome: Reply | Refusal | StrongroomError | None) -> str | None:
    """Return the account that an answer is of, where it says so."""
    listed = outcome.data.get("SecretList") if isinstance(outcome, Reply) else None
    parts = str(listed[0].get("ARN", "")).split(":") if listed else []
    return parts[4] if len(parts) > 4 else None
