"""The way to the service: who sends again, until when, and how fast."""

from __future__ import annotations

import os
import time

from collections.abc import Callable
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from strongroom.errors import AuthenticationError, BackendUnavailableError, StrongroomError
from strongroom.pacing import Bucket, delay, time_left
from strongroom.telemetry import count_resend, note_exchange, quiet
from strongroom_aws.answers import is_sound
from strongroom_aws.calls import KINDS, Call, Counts
from strongroom_aws.clients import Clients
from strongroom_aws.dripping import unless
from strongroom_aws.faults import is_of_credentials, understood, without_frames
from strongroom_aws.outcomes import Outcome, outcome_of, refused
from strongroom_aws.place import Place, owner
from strongroom_aws.quiet import quietly
from strongroom_aws.replies import Fault, Refusal, Reply
from strongroom_aws.settings import AwsSettings
from strongroom_aws.whose import Whose

_METHODS: Final = {
    "BatchGetSecretValue": "batch_get_secret_value",
    "CreateSecret": "create_secret",
    "DeleteSecret": "delete_secret",
    "DescribeSecret": "describe_secret",
    "GetSecretValue": "get_secret_value",
    "ListSecretVersionIds": "list_secret_version_ids",
    "ListSecrets": "list_secrets",
    "PutSecretValue": "put_secret_value",
    "RemoveRegionsFromReplication": "remove_regions_from_replication",
    "ReplicateSecretToRegions": "replicate_secret_to_regions",
    "RestoreSecret": "restore_secret",
    "RotateSecret": "rotate_secret",
    "TagResource": "tag_resource",
    "UntagResource": "untag_resource",
    "UpdateSecretVersionStage": "update_secret_version_stage",
}
"""The operations that are used, and boto3's names for them. No other one is ever asked for."""
_AT_ONCE: Final = 0.9
"""How much of a second's requests may be sent at once: the network lets some of them arrive closer together."""
_SLACK: Final = 0.05
"""Seconds: how late an attempt may end, since some time passes before the first one is begun."""
_HINTS: Final = {
    "rate_limited": "ask less, or lower `rates` so that the requests wait here",
    "timeout": "see whether the network lets us through, or raise read_timeout",
    "connection_refused": "check the region and the endpoint, and the way there",
    "server_error": "try again later; see whether the endpoint is that of the service, and whether AWS has an outage",
    "unavailable": "see whether the endpoint is that of the service, and what stands in between",
}
_CAUSES: Final = {"connection_refused": ConnectionRefusedError, "timeout": TimeoutError, "unavailable": ConnectionError}
"""What stands for the exception of botocore or urllib3 as the cause, whose own frames hold what was sent."""


class PacedError(BackendUnavailableError):
    """We hold back by ourselves what would be asked more often than ``rates`` allows: no outage of the service."""

    own_limit = True


class Asker:
    """Asks the service, and again where that may help. It is safe to use from several threads.

    Whatever is asked may be asked twice without harm: what changes something carries a token or names what it
    builds on, so that the service itself knows it again.

    Args:
        settings: The backend's settings.
        place: Where the service is.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.

    Attributes:
        place: The same.
        clock: The same.
        clients: Those that are asked.
        whose: Knows the account.
        counts: How often the service was asked.
        host: Who was asked last in the usual region: the endpoint's host and port.
        timeout: How many seconds a request may take over all its attempts.
        longest: How many seconds an attempt may take at most.
    """

    def __init__(
        self,
        settings: AwsSettings,
        place: Place,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.place = place
        self.clock = clock
        self.clients = Clients(settings, place)
        self.whose = Whose(owner(settings))
        self.timeout = settings.timeout
        self.longest = settings.connect_timeout + settings.read_timeout
        self.host = ""
        self._settings = settings
        self._sleep = sleep
        rates = settings.rates
        # The service takes half as many lists of versions as lists of names.
        self._rates = {"read": rates.read, "list": rates.list, "versions": rates.list / 2.0, "write": rates.write}
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self.counts = Counts()

    @property
    def limit(self) -> float:
        """When what begins now has to be answered, on the clock."""
        left = time_left()
        return self.clock() + (self.timeout if left is None else min(self.timeout, left))

    def ask(
        self,
        operation: str,
        parameters: dict[str, Any],
        *,
        what: str,
        expects: str = "",
        region: str | None = None,
        end: float | None = None,
        attempts: int | None = None,
    ) -> Reply | Refusal:
        """Ask until there is an answer or it is too late.

        Args:
            operation: The service's operation, such as ``GetSecretValue``.
            parameters: What it takes.
            what: What is tried, for errors, such as ``reading app/key``.
            expects: What the answer must have, such as ``VersionId``: without it, it is none.
            region: The region to ask; the usual one unless given.
            end: When it is too late, on the clock; the time limit of the settings unless given.
            attempts: How often it is sent at most; as the settings say unless given.

        Raises:
            BackendUnavailableError: There is no answer in time, or the service says that it has none now. No attempt
                is begun that might end too late.
            PacedError: It would have to wait here for too long, by ``rates``.
            AuthenticationError: There are no credentials, or they are not accepted.
            ConfigurationError: botocore cannot use the configuration.
            BackendError: The server could not be trusted (code ``tls_failed``), or botocore failed.
            ClosedError: The backend was closed.
        """
        if os.getpid() != self._pid:
            self.after_fork()
        call = Call(
            operation,
            parameters,
            what=what,
            expects=expects,
            region=region or self.place.region,
            end=self.limit if end is None else end,
        )
        del parameters
        most = self._settings.attempts if attempts is None else attempts
        while True:
            outcome = self._once(call)
            if isinstance(outcome, Reply | Refusal):
                return outcome
            if isinstance(outcome, StrongroomError):
                call.parameters = {}
                raise outcome
            self._wait_after(call, outcome, most)

    def pause(self, attempt: int, end: float) -> bool:
        """Wait before something is tried again that takes several requests; tell whether there is time for that.

        Args:
            attempt: How often it has been tried.
            end: When it is too late, on the clock.
        """
        wait = delay(attempt)
        if self.clock() + wait > end:
            return False
        self._sleep(wait)
        return True

    def after_fork(self) -> None:
        """Use clients and buckets of its own in a forked child."""
        self.clients.after_fork()
        self._begin()

    def close(self) -> None:
        """Close all connections; twice is no error."""
        self.clients.close()

    def _once(self, call: Call) -> Reply | Refusal | Fault | StrongroomError:
        """Ask once, and once more with new credentials if those that were used have run out."""
        self._wait_for_turn(call)
        call.attempts += 1
        outcome = self._exchange(call)
        if isinstance(outcome, Refusal) and outcome_of(outcome) is Outcome.EXPIRED and self._may_renew(call):
            call.renewed = True
            outcome = self._renewed(call) or self._exchange(call)
        if isinstance(outcome, Reply | Refusal):
            self._note(call, outcome.request_id)
        if isinstance(outcome, Refusal) and outcome_of(outcome) is Outcome.UNKNOWN_KEY:
            # Not again with this one: but a key that has been replaced meanwhile is found by the next request.
            self._look_anew(call)
        if isinstance(outcome, Refusal) and outcome.service != "secretsmanager":
            # What gives out credentials has refused: its codes say nothing about secrets.
            return refused(outcome, call.what)
        return outcome

    def _renewed(self, call: Call) -> StrongroomError | None:
        """Look for other credentials; return why what was begun with the old ones is not done with these."""
        known = self.whose.account if self.whose.is_learned else None
        self._look_anew(call)
        if known is None or not call.is_change:
            return None
        try:
            with quietly():
                account = self.clients.account()
        # The boundary to botocore, as below.
        except Exception as error:  # noqa: BLE001  # see above
            found = f"nobody can tell whose those are that were found instead ({type(error).__name__})"
        else:
            if account == known:
                return None
            found = f"those that were found instead are of the account {account}, not {known}"
        return AuthenticationError(
            f"the AWS credentials had run out amidst {call.what}, and {found}: nothing was changed",
            hint="try again if these are right; with `account` in the settings, others are never used",
        )

    def _look_anew(self, call: Call) -> None:
        if self.clients.renew(call.client):
            self.whose.forget()

    def _may_renew(self, call: Call) -> bool:
        return not call.renewed and self._fits(call, 0.0)

    def _exchange(self, call: Call) -> Reply | Refusal | Fault | StrongroomError:
        try:
            # Of others' instrumentation also in threads of our own, where the core has not done it.
            with quiet(), quietly(), unless(lambda: self.clock() > call.end):
                call.client = self.clients.get(call.region)
                self.counts.add(requests=1)
                data = getattr(call.client, _METHODS[call.operation])(**call.parameters)
        # The boundary to botocore: whatever it raises is looked at, and let go of with all that its frames hold.
        except Exception as error:  # noqa: BLE001  # see above
            outcome = understood(error, call.operation, call.what)
            if isinstance(outcome, Refusal):
                outcome = outcome.replace(resends=call.resends, unsure=call.unsure, region=call.region)
            url = call.client.meta.endpoint_url if call.client is not None else ""
            if isinstance(outcome, Fault) and is_of_credentials(error, call.operation, url):
                outcome = outcome.replace(who="what gives out the AWS credentials")
            return outcome
        # As little is kept of what comes through others: Ctrl-C, say, whose frames below hold the same.
        except BaseException as error:  # noqa: BLE001  # it is let go of, not caught
            call.parameters = {}
            raise without_frames(error)  # noqa: B904  # it is the same error
        request_id = data.pop("ResponseMetadata", {}).get("RequestId")
        shape = call.client.meta.service_model.operation_model(call.operation).output_shape
        if not is_sound(data, shape, call.expects):
            return Fault(code="unavailable", what="gave an answer without what was asked for")
        if self.clients.has(call.client):
            self.whose.learn(call.parameters, data)
            if not self.clients.has(call.client):
                self.whose.forget()  # they have been replaced in between
        return Reply(data, request_id, resends=call.resends, region=call.region)

    def _fits(self, call: Call, wait: float) -> bool:
        """Tell whether an attempt that begins after so many seconds ends in time, however long it takes."""
        return self.clock() + wait + self.longest <= call.end + _SLACK

    def _wait_for_turn(self, call: Call) -> None:
        """Wait until the service is ready for one more request of this kind, by the limits that it has published."""
        if not self._fits(call, 0.0):
            self._give_up(call, call.fault or Fault(code="timeout", what="has no time left to answer"))
        wait = self._bucket(call).take(call.end + _SLACK - self.longest)
        if wait is None and call.fault is not None:
            self._give_up(call, call.fault)
        if wait is None:
            call.parameters = {}
            raise PacedError(
                f"AWS Secrets Manager in {call.region} would be asked more often than `rates` allows for {call.what}",
                code="rate_limited",
                hint="ask less, or raise `rates` if the service allows this account more",
            )
        if wait:
            self._sleep(wait)

    def _bucket(self, call: Call) -> Bucket:
        kind = KINDS.get(call.operation, "write")
        bucket = self._buckets.get((call.region, kind))
        if bucket is None:
            rate = self._rates[kind]
            # Two threads may make one at the same time: only one of them is kept.
            bucket = self._buckets.setdefault((call.region, kind), Bucket(rate, max(1.0, _AT_ONCE * rate), self.clock))
        return bucket

    def _wait_after(self, call: Call, fault: Fault, most: int) -> None:
        """Wait before it is sent again, or give up."""
        call.failed(fault)
        if fault.throttled:
            self._bucket(call).slow_down()
            self.counts.add(throttled=1)
        # Who is asked to wait for no time at all waits as ever: the server is not well.
        wait = max(delay(call.attempts), fault.wait or 0.0)
        if call.attempts >= most or not self._fits(call, wait):
            self._give_up(call, fault)
        call.resends += 1
        self.counts.add(resends=1)
        count_resend("aws")
        self._sleep(wait)

    def _give_up(self, call: Call, fault: Fault) -> NoReturn:
        call.parameters = {}
        self._note(call, None)
        cause = _CAUSES.get(fault.code)
        raise BackendUnavailableError(
            f"{fault.who or f'AWS Secrets Manager in {call.region}'} {fault.what} for {call.what}"
            + ("; what was to be changed may have been changed" if call.unsure else ""),
            code=fault.code,
            hint="read it before trying again" if call.unsure else _HINTS.get(fault.code, ""),
        ) from (None if cause is None else cause(fault.what))

    def _note(self, call: Call, request_id: str | None) -> None:
        parts = urlsplit(call.client.meta.endpoint_url if call.client is not None else "")
        if call.region == self.place.region:
            self.host = parts.netloc.rpartition("@")[2]
        note_exchange(
            address=parts.hostname or call.region,
            port=parts.port,
            resends=call.resends,
            region=call.region,
            aws_request_id=request_id,
        )
