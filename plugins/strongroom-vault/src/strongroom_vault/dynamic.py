"""Leased credentials: names that are paths of the server, where each read makes a new one."""

from __future__ import annotations

import email.utils
import json
import math
import secrets
import time

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from strongroom.contracts import (
    Lease,
    Leasing,
    ReadRequest,
    ReadResult,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
    first_match,
    most_specific_first,
)
from strongroom.errors import (
    BackendError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName, SecretValue
from strongroom_vault.asking import AskingAdapter, bare
from strongroom_vault.faults import refusal
from strongroom_vault.paths import Paths, quoted
from strongroom_vault.replies import Reply

_ENDED: Final = ("lease not found", "lease expired", "invalid lease")
_FINAL: Final = "not renewable"
_NO_ROLE: Final = ("unknown role", "role not found", "does not exist", "no such role")
_DATE_SECONDS: Final = 1.0
"""How exact the server's date is."""


class Tokens(Protocol):
    """What is to be known of the token under which the server grants leases."""

    def tenure(self) -> tuple[int, float]:
        """Return its number, another one for each token, and how many seconds it has left, maybe infinitely many."""


class Dynamic(Leasing):
    """Has the server make credentials, and renews and revokes their leases.

    Args:
        adapter: The way to the server.
        tokens: The token that the adapter shows.
        patterns: Of names: what is leased.
        parameters: What is sent with a request, by pattern; the most specific one counts.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        adapter: AskingAdapter,
        tokens: Tokens,
        patterns: tuple[str, ...],
        parameters: Mapping[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter = adapter
        self._patterns = patterns
        self._parameters = {pattern: parameters[pattern] for pattern in most_specific_first(parameters)}
        self._lives = _Lives(tokens, clock)
        self._paths = Paths("")

    def is_leased(self, name: SecretName) -> bool:
        """Tell whether a name is the path of something that makes credentials."""
        return bool(self._patterns) and first_match(self._patterns, name) is not None

    def read(self, request: ReadRequest) -> ReadResult:
        """Have a credential made: a JSON object of all that the server says of it.

        Raises:
            SecretNotFoundError: There is no such role.
            ConfigurationError: The path makes nothing that is leased, or needs parameters.
            StrongroomError: The server makes none.
        """
        name = request.name
        pattern = first_match(self._parameters, name)
        # Not to be sent twice: if the answer is lost there may be a credential that nobody has.
        path = f"/v1/{quoted(self._paths.inside(name))}"
        content = None if pattern is None else self._parameters[pattern]
        method = "GET" if pattern is None else "POST"
        before = self._lives.tenure()
        reply = _asked(lambda: self._adapter.request(method, path, json=content, repeatable=False))
        outcome = _refused_read(reply, name) if reply.status >= 400 else _lease(reply, name)
        if isinstance(outcome, StrongroomError):
            # Its traceback shows this frame's variables.
            del reply
            raise outcome
        return ReadResult(
            value=SecretValue(json.dumps(reply.data, ensure_ascii=False)),
            # Each answer is another credential, and has another id.
            version=reply.request_id or secrets.token_hex(16),
            request_id=reply.request_id,
            lease=self._lives.noted(outcome, before),
        )

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        """Let a lease live longer; see ``Leasing.renew_lease``."""
        name, lease = request.name, request.lease
        if not lease.id:
            raise _final(name)
        increment = max(1, round(request.seconds))
        reply = _asked(
            lambda: self._adapter.request(
                "PUT", "/v1/sys/leases/renew", json={"lease_id": lease.id, "increment": increment}, repeatable=True
            )
        )
        if reply.status >= 400:
            raise self._refused_renewal(reply, name, lease)
        renewed = Lease(id=lease.id, seconds=_seconds(reply), renewable=reply.body.get("renewable") is True)
        bounded, by_token = self._lives.renewed(renewed)
        extensible = by_token and renewed.seconds >= increment
        return RenewLeaseResult(lease=bounded, extensible=extensible, request_id=reply.request_id)

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a lease; see ``Leasing.revoke_lease``. The credential works no more when this returns."""
        lease = request.lease
        if not lease.id:
            raise UnsupportedOperationError(
                f"the server gave no lease for {request.name}, so it cannot be revoked", name=request.name
            )
        reply = _asked(
            lambda: self._adapter.request(
                "PUT", "/v1/sys/leases/revoke", json={"lease_id": lease.id, "sync": True}, repeatable=True
            )
        )
        if reply.status >= 400 and not _has_ended(reply):
            raise refusal(reply, f"revoking the lease of {request.name}", name=request.name)
        self._lives.forget(lease)
        return RevokeLeaseResult(request_id=reply.request_id)

    def after_fork(self) -> None:
        """Forget in a forked child what the parent has been granted."""
        self._lives.clear()

    def _refused_renewal(self, reply: Reply, name: SecretName, lease: Lease) -> StrongroomError:
        if _has_ended(reply):
            self._lives.forget(lease)
            return SecretNotFoundError(f"the lease of {name} has ended", name=name, hint="read it anew")
        if reply.status == 400 and _FINAL in reply.errors:
            return _final(name)
        return refusal(reply, f"renewing the lease of {name}", name=name)


class _Lives:
    """Up to when leases can live, since the server ends each with the token that it was granted under."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        # By id: which token that was, and its end. Single steps on a dictionary need no lock.
        self._ends: dict[str, tuple[int, float]] = {}

    def tenure(self) -> tuple[int, float]:
        """Return which token there is, by its number, and its end on the clock. 0 stands for none."""
        serial, left = self._tokens.tenure()
        return serial, self._clock() + left

    def noted(self, lease: Lease, before: tuple[int, float]) -> Lease:
        """Return a new lease with no more time than its token has.

        Args:
            lease: What the server has granted.
            before: Which token there was before it was asked for.
        """
        now = self._clock()
        serial, end = self.tenure()
        if before[0] not in (0, serial):
            # It was replaced meanwhile, so it may have been either.
            serial, end = 0, min(before[1], end)
        for ended in [one for one, (_, at) in list(self._ends.items()) if at <= now]:
            self._ends.pop(ended, None)
        # One without an id, such as a certificate, does not end with the token.
        if not lease.id or end == math.inf:
            return lease
        self._ends[lease.id] = (serial, end)
        return lease.replace(seconds=max(0.0, min(lease.seconds, end - now)))

    def renewed(self, lease: Lease) -> tuple[Lease, bool]:
        """Return a renewed lease with no more time than the token has that it was granted under.

        Returns:
            The lease, and whether it may live longer once that token, which is still in use, has been renewed.
        """
        serial, end = self._ends.get(lease.id, (0, math.inf))
        known, known_end = self.tenure()
        if serial and serial == known:
            end = known_end
            self._ends[lease.id] = (serial, end)
        left = end - self._clock()
        return lease.replace(seconds=max(0.0, min(lease.seconds, left))), serial == known and left < lease.seconds

    def forget(self, lease: Lease) -> None:
        """Forget a lease that has ended."""
        self._ends.pop(lease.id, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._ends.clear()


def _asked(call: Callable[[], Reply]) -> Reply:
    """Return an answer, or raise why there is none from where no lease's id is known."""
    try:
        return call()
    # Ctrl-C, too.
    except BaseException as error:  # noqa: BLE001  # raised again below
        failure = bare(error)
    raise failure


def _lease(reply: Reply, name: SecretName) -> Lease | ConfigurationError:
    """Return the lease that an answer grants, or the error that says that it grants none."""
    known = reply.body.get("lease_id")
    if isinstance(known, str) and known:
        return Lease(id=known, seconds=_seconds(reply), renewable=reply.body.get("renewable") is True)
    expiration = reply.data.get("expiration")
    if isinstance(expiration, (int, float)):
        # A certificate, say: it just ends, and the server's clock says when.
        return Lease(id="", seconds=max(0.0, expiration - _server_time(reply)))
    return ConfigurationError(
        f"what the server has at {name} is not leased",
        name=name,
        hint="take the name out of `dynamic`; names of the key-value engine are found below `mount`",
    )


def _seconds(reply: Reply) -> float:
    seconds = reply.body.get("lease_duration")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


def _server_time(reply: Reply) -> float:
    """Return the server's time in seconds since 1970, not too early; our own if it does not tell."""
    try:
        return email.utils.parsedate_to_datetime(reply.headers["Date"]).timestamp() + _DATE_SECONDS
    except (KeyError, TypeError, ValueError):
        return time.time()


def _has_ended(reply: Reply) -> bool:
    return reply.status in (400, 404) and any(text in reply.errors for text in _ENDED)


def _final(name: SecretName) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"the lease of {name} cannot be renewed", name=name, hint="read it anew")


def _refused_read(reply: Reply, name: SecretName) -> StrongroomError:
    said = reply.errors
    if reply.status == 400 and any(text in said for text in _NO_ROLE):
        return SecretNotFoundError(f"the server knows no role for {name}", name=name, hint="check the role's spelling")
    if reply.status == 405 or "unsupported operation" in said:
        return ConfigurationError(
            f"the server makes nothing at {name} for such a request",
            name=name,
            hint="a path that takes parameters, such as pki/issue, needs a line in `parameters`",
        )
    error = refusal(reply, f"making a credential at {name}", name=name)
    if reply.status == 400 and isinstance(error, BackendError):
        error.hint = "the role may need other `parameters`; the server's own log says why"
    return error
