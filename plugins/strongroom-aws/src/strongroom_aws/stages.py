"""A value that waits beside the current one, on the service's own labels.

AWSPENDING is the fence of a rotation: the service moves it only for whoever says which version it is on. Putting a
value under it would take it from anybody, so a value comes under a label of our own first, and then AWSPENDING moves
to it. What stops between the two leaves a version that is in nobody's way.
"""

from __future__ import annotations

import re

from typing import Final

from strongroom.contracts import (
    DiscardRequest,
    DiscardResult,
    PromoteRequest,
    PromoteResult,
    StageRequest,
    StageResult,
    StagesRequest,
    StagesResult,
)
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.labels import Labels
from strongroom_aws.names import Names, is_version
from strongroom_aws.outcomes import NOT_AS_SAID, Outcome, missing, outcome_of, refused
from strongroom_aws.reasons import explained
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import CURRENT, PENDING, Seen, find
from strongroom_aws.values import check_size, received, sent

STAGED: Final = "STRONGROOM_STAGED"
"""The label under which a value comes. Another staging may take it away at any time: all it does is come first."""
_TRIES: Final = 5
"""How often AWSPENDING is moved at most while it comes and goes below us, or is seen where it no longer is."""
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Stages:
    """Keeps values as pending, makes them current, and gives them up.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names
        self._labels = Labels(asker, names)

    def stage(self, request: StageRequest) -> StageResult:
        """Keep a value as the pending one; see ``Staging.stage``. Four requests.

        A token whose version has been promoted already names that version: it is not staged again.
        """
        name, token = request.name, request.token
        check_size(name, request.value)
        check_token(token, name)
        seen = find(self._asker, self._names, name, what=f"staging {name}")
        if seen.current is None:
            raise missing(name)  # the service would make its first value the current one
        if _is_staged(seen, token):
            return StageResult(version=token, request_id=self._confirm(request))
        _keep_fence(seen, request)
        request_id = self._put(request)
        try:
            self._take_fence(request, seen)
        except VersionConflictError:
            self._labels.take_off(name, STAGED, token)
            raise
        self._labels.take_off(name, STAGED, token)
        return StageResult(version=token, request_id=request_id)

    def stages(self, request: StagesRequest) -> StagesResult:
        """Say which versions are current, pending and previous; see ``Staging.stages``. One request."""
        seen = find(self._asker, self._names, request.name, what=f"looking for the stages of {request.name}")
        return StagesResult(
            current=seen.current,
            pending=seen.pending,
            previous=seen.previous,
            unfinished=seen.unfinished,
            request_id=seen.request_id,
        )

    def promote(self, request: PromoteRequest) -> PromoteResult:
        """Make a version the current one; see ``Staging.promote``. Two requests, or one if it stays unfinished."""
        name, version, expected = request.name, request.version, request.expect_current
        what = f"promoting version {version} of {name}"
        answer = None
        # What cannot be a version is not asked for: botocore would not send it.
        if version != expected and is_version(version) and is_version(expected):
            answer = self._labels.move(name, CURRENT, to=version, left=expected, what=what)
        request_id = answer.request_id if isinstance(answer, Reply) else self._settled(request, answer, what)
        if request.keep_unfinished:
            return PromoteResult(request_id=request_id)
        if isinstance(self._labels.take_off(name, PENDING, version), Refusal) and isinstance(answer, Reply):
            # The other one was taken back, then: what is left of its own promotion must not look like a rotation.
            self._labels.take_off(name, PENDING, expected)
        return PromoteResult(request_id=request_id)

    def discard(self, request: DiscardRequest) -> DiscardResult:
        """Give a pending version up; see ``Staging.discard``. Two requests, or one if there is nothing to give up.

        It is tried even if it does not look pending: what we see may be older than its staging.
        """
        name, version = request.name, request.version
        what = f"discarding version {version} of {name}"
        seen = find(self._asker, self._names, name, what=what)
        if (version == seen.current and version != seen.unfinished) or not is_version(version):
            return DiscardResult(existed=False, request_id=seen.request_id)
        answer = self._labels.move(name, PENDING, to=None, left=version, what=what)
        if isinstance(answer, Reply):
            return DiscardResult(existed=True, request_id=answer.request_id)
        if outcome_of(answer) not in NOT_AS_SAID:
            raise refused(answer, what, name=name)
        if version in (seen.pending, seen.unfinished):
            seen = find(self._asker, self._names, name, what=what)
            if version in (seen.pending, seen.unfinished):
                raise explained(answer, seen, name, what=what)
        # An answer that got lost was ours; else somebody else has taken the label meanwhile.
        return DiscardResult(existed=answer.unsure, request_id=answer.request_id)

    def _confirm(self, request: StageRequest) -> str | None:
        """See that a version which has been staged already has the same value; nothing is written any more."""
        name, token, what = request.name, request.token, f"staging {request.name}"
        parameters = {"SecretId": self._names.id_of(name), "VersionId": token}
        answer = self._asker.ask("GetSecretValue", parameters, what=what, expects="VersionId")
        if isinstance(answer, Reply):
            kept = received(answer.data, name, answer.request_id)
            del answer  # it holds the value, and what may be raised must not show it
            if kept.value != request.value:
                raise _taken(name, token)
            return kept.request_id
        if outcome_of(answer) is Outcome.NOT_FOUND:
            raise _taken(name, token)  # a rotation of the service has begun with it, and has no value yet
        raise refused(answer, what, name=name)

    def _put(self, request: StageRequest) -> str | None:
        """Make the version, or find it made already with the same value."""
        name, token, what = request.name, request.token, f"staging {request.name}"
        answer = self._asker.ask(
            "PutSecretValue",
            {
                "SecretId": self._names.id_of(name),
                "ClientRequestToken": token,
                "VersionStages": [STAGED],
                **sent(request.value),
            },
            what=what,
            expects="VersionId",
        )
        if isinstance(answer, Reply):
            return answer.request_id
        outcome = outcome_of(answer)
        if outcome is Outcome.EXISTS:
            raise _taken(name, token)
        if outcome in NOT_AS_SAID:
            raise self._explained(answer, name, what)
        raise refused(answer, what, name=name)

    def _take_fence(self, request: StageRequest, seen: Seen) -> None:
        """Move AWSPENDING to the version that was made, from where it may be taken."""
        name, token, what = request.name, request.token, f"staging {request.name}"
        end = self._asker.limit
        for attempt in range(1, _TRIES + 1):
            answer = self._labels.move(name, PENDING, to=token, left=seen.stages.get(PENDING), what=what)
            if isinstance(answer, Reply):
                return
            if outcome_of(answer) not in NOT_AS_SAID:
                raise refused(answer, what, name=name)
            if attempt == _TRIES or not self._asker.pause(attempt, end):
                raise self._explained(answer, name, what)
            seen = find(self._asker, self._names, name, what=what)
            if _is_staged(seen, token):
                return  # the answer to an earlier attempt got lost
            _keep_fence(seen, request)

    def _settled(self, request: PromoteRequest, refusal: Refusal | None, what: str) -> str | None:
        """Return the id of a look that shows the version as current, or raise for what it shows instead."""
        name, version = request.name, request.version
        if refusal is not None and outcome_of(refusal) not in NOT_AS_SAID:
            raise refused(refusal, what, name=name)
        seen = find(self._asker, self._names, name, what=what)
        if seen.current == version:
            return seen.request_id
        if refusal is not None and refusal.unsure and seen.current not in (None, request.expect_current):
            if seen.previous == version:
                return seen.request_id  # it was promoted, that answer was lost, and it has been replaced since
            raise BackendUnavailableError(
                f"an answer to {what} was lost, and others have changed it since: it may have been promoted",
                name=name,
                hint="look at what is current now before trying again",
            )
        if seen.current is not None and seen.current != request.expect_current:
            raise VersionConflictError(
                f"{name} has changed: its current version is {seen.current}, not {request.expect_current}",
                expected=request.expect_current,
                found=seen.current,
                name=name,
                hint="look at what is current now; whoever made it may have rotated it, too",
            )
        if refusal is None or version not in seen.stages.values():
            raise missing(name, version)
        raise explained(refusal, seen, name, what=what)

    def _explained(self, refusal: Refusal, name: SecretName, what: str) -> StrongroomError:
        """Return the error for a change that was refused, of a secret that is there; raise if it is not."""
        return explained(refusal, find(self._asker, self._names, name, what=what), name, what=what)


def check_token(token: str, name: SecretName) -> None:
    """Raise unless a token is a UUID as it is usually written; it becomes the version's id.

    Raises:
        ConfigurationError: It is none.
    """
    if _UUID.fullmatch(token) is None:
        raise ConfigurationError(f"the token for {name} is no UUID", name=name, hint="pass str(uuid.uuid4())")


def _taken(name: SecretName, token: str) -> VersionConflictError:
    return VersionConflictError(
        f"version {token} of {name} has another value",
        expected="absent",
        found=token,
        name=name,
        hint="name each logical write with a token of its own",
    )


def _is_staged(seen: Seen, token: str) -> bool:
    """Tell whether the version of a token is pending, or has been promoted already."""
    return token in (seen.pending, seen.current, seen.previous)


def _keep_fence(seen: Seen, request: StageRequest) -> None:
    """Raise unless the pending version is the expected one."""
    expected, found = request.expect_pending, seen.pending
    if found == expected:
        return
    raise VersionConflictError(
        f"another rotation of {request.name} is under way, with version {found}"
        if found is not None
        else f"version {expected} of {request.name} is not pending any more",
        expected=expected or "absent",
        found=found or "absent",
        name=request.name,
        hint="wait for it, or give it up by its version if whatever began it is no more" if found is not None else "",
    )
