"""The way to the service: who sends again, until when, and how fast."""

from __future__ import annotations

import os
import time

from collections.abc import Callable
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.pacing import Bucket, delay
from strongroom.telemetry import count_resend, note_exchange
from strongroom_aws.clients import Clients
from strongroom_aws.faults import understood
from strongroom_aws.outcomes import Outcome, outcome_of
from strongroom_aws.place import Place
from strongroom_aws.quiet import quietly
from strongroom_aws.replies import Fault, Refusal, Reply
from strongroom_aws.settings import AwsSettings

_LISTS: Final = frozenset({"BatchGetSecretValue", "ListSecrets", "ListSecretVersionIds"})
_READS: Final = frozenset({"GetSecretValue", "DescribeSecret"})
_METHODS: Final = {
    "BatchGetSecretValue": "batch_get_secret_value",
    "CreateSecret": "create_secret",
    "DeleteSecret": "delete_secret",
    "DescribeSecret": "describe_secret",
    "GetSecretValue": "get_secret_value",
    "ListSecretVersionIds": "list_secret_version_ids",
    "ListSecrets": "list_secrets",
    "PutSecretValue": "put_secret_value",
    "RestoreSecret": "restore_secret",
    "RotateSecret": "rotate_secret",
    "TagResource": "tag_resource",
    "UntagResource": "untag_resource",
    "UpdateSecretVersionStage": "update_secret_version_stage",
}
"""The operations that are used, and boto3's names for them. No other one is ever asked for."""
_HINTS: Final = {
    "rate_limited": "ask less, or lower `rates` so that the requests wait here",
    "timeout": "see whether the network lets us through, or raise read_timeout",
    "connection_refused": "check the region and the endpoint, and the way there",
}


class Call:
    """A request, and what has become of it so far."""

    __slots__ = ("attempts", "end", "expects", "operation", "parameters", "region", "renewed", "resends", "what")

    def __init__(
        self, operation: str, parameters: dict[str, Any], *, what: str, expects: str, region: str, end: float
    ) -> None:
        self.operation = operation
        self.parameters = parameters
        self.what = what
        self.expects = expects
        self.region = region
        self.end = end
        self.attempts = 0
        self.resends = 0
        self.renewed = False


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
        self._settings = settings
        self._sleep = sleep
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._buckets: dict[tuple[str, str], Bucket] = {}

    @property
    def limit(self) -> float:
        """When what begins now has to be answered, on the clock."""
        return self.clock() + self._settings.timeout

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
            BackendUnavailableError: There is no answer in time, or the service says that it has none now.
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
        outcome, client = self._exchange(call)
        if isinstance(outcome, Refusal) and outcome_of(outcome) is Outcome.EXPIRED and not call.renewed:
            call.renewed = True
            self.clients.renew(client)
            outcome, _ = self._exchange(call)
        if isinstance(outcome, Reply | Refusal):
            self._note(call, client, outcome.request_id)
        return outcome

    def _exchange(self, call: Call) -> tuple[Reply | Refusal | Fault | StrongroomError, Any]:
        client: Any = None
        try:
            with quietly():
                client = self.clients.get(call.region)
                data = getattr(client, _METHODS[call.operation])(**call.parameters)
        # The boundary to botocore: whatever it raises is looked at, and let go of with all that its frames hold.
        except Exception as error:  # noqa: BLE001  # see above
            outcome = understood(error, call.operation, call.what)
            if isinstance(outcome, Refusal):
                outcome = outcome.replace(resends=call.resends, region=call.region)
            return outcome, client
        if call.expects and call.expects not in data:
            return Fault(code="unavailable", what="gave an answer without what was asked for"), client
        request_id = data.pop("ResponseMetadata", {}).get("RequestId")
        return Reply(data, request_id, resends=call.resends, region=call.region), client

    def _wait_for_turn(self, call: Call) -> None:
        """Wait until the service is ready for one more request of this kind, by the limits that it has published."""
        wait = self._bucket(call).take(call.end)
        if wait is None:
            self._give_up(call, Fault(code="rate_limited", what="would be asked more often than `rates` allows"))
        if wait:
            self._sleep(wait)

    def _bucket(self, call: Call) -> Bucket:
        kind = "list" if call.operation in _LISTS else "read" if call.operation in _READS else "write"
        bucket = self._buckets.get((call.region, kind))
        if bucket is None:
            rate = float(self._settings.rates.as_dict()[kind])
            # Two threads may make one at the same time: only one of them is kept.
            bucket = self._buckets.setdefault((call.region, kind), Bucket(rate, max(1.0, rate), self.clock))
        return bucket

    def _wait_after(self, call: Call, fault: Fault, most: int) -> None:
        """Wait before it is sent again, or give up."""
        if fault.throttled:
            self._bucket(call).slow_down()
        wait = delay(call.attempts) if fault.wait is None else fault.wait
        # An attempt that could not be waited for is not begun.
        longest = self._settings.connect_timeout + self._settings.read_timeout
        if call.attempts >= most or self.clock() + wait + longest > call.end:
            self._give_up(call, fault)
        call.resends += 1
        count_resend("aws")
        self._sleep(wait)

    def _give_up(self, call: Call, fault: Fault) -> NoReturn:
        unsure = call.operation not in _LISTS | _READS and call.attempts > 0 and not fault.throttled
        call.parameters = {}
        self._note(call, None, None)
        raise BackendUnavailableError(
            f"AWS Secrets Manager in {call.region} {fault.what} for {call.what}"
            + ("; what was to be changed may have been changed" if unsure else ""),
            code=fault.code,
            hint="read it before trying again" if unsure else _HINTS.get(fault.code, ""),
        )

    def _note(self, call: Call, client: Any, request_id: str | None) -> None:
        parts = urlsplit(client.meta.endpoint_url if client is not None else "")
        note_exchange(
            address=parts.hostname or call.region,
            port=parts.port,
            resends=call.resends,
            region=call.region,
            aws_request_id=request_id,
        )
