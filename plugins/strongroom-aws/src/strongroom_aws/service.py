"""Rotation by the service itself: set up, triggered and watched."""

from __future__ import annotations

from typing import Any, Final

from strongroom.contracts import (
    RotationStatusRequest,
    RotationStatusResult,
    Schedule,
    SchedulesRequest,
    SchedulesResult,
    TriggerRotationRequest,
    TriggerRotationResult,
    matches,
)
from strongroom.errors import ConfigurationError, StrongroomError, UnsupportedOperationError, VersionConflictError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.listing import entries_below
from strongroom_aws.names import Names
from strongroom_aws.outcomes import NOT_AS_SAID, Outcome, outcome_of
from strongroom_aws.reasons import explained
from strongroom_aws.replies import Refusal
from strongroom_aws.schedules import differs, rules_of, schedule_of
from strongroom_aws.seen import Seen, find
from strongroom_aws.settings import RotationSettings
from strongroom_aws.stages import check_token

_ARRANGED: Final = ("RotationEnabled", "RotationLambdaARN", "ExternalSecretRotationRoleArn")
"""What a secret's description has if the service knows how to rotate it; all but the first though it is turned off."""


class ServiceRotations:
    """Has the service rotate secrets.

    Args:
        asker: Asks the service.
        names: Spells the names.
        enabled: Patterns of names that the service rotates by the settings.
        settings: How it is to do that.
    """

    def __init__(self, asker: Asker, names: Names, enabled: tuple[str, ...], settings: RotationSettings) -> None:
        self._asker = asker
        self._names = names
        self._enabled = enabled
        self._lambda = settings.lambda_arn
        self._rules = rules_of(settings)

    def rotates(self, name: SecretName) -> bool:
        """Tell whether the service rotates a secret; see ``ServiceRotation.rotates``.

        One request, or none if the settings say so. A secret that another service manages is never ours to rotate.
        """
        if self._is_named(name):
            return True
        seen = find(self._asker, self._names, name, what=f"looking for the rotation of {name}")
        return bool(seen.data.get("RotationEnabled") or seen.data.get("OwningService"))

    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        """Have the service rotate a secret now; see ``ServiceRotation.trigger_rotation``. Two requests."""
        name, token = request.name, request.token
        check_token(token, name)
        what = f"rotating {name}"
        seen = find(self._asker, self._names, name, what=what)
        if token in (seen.current, seen.previous):
            return TriggerRotationResult(version=token, request_id=seen.request_id)
        arrangement = self._arrangement(name, seen)
        parameters = {
            "SecretId": self._names.id_of(name),
            "ClientRequestToken": token,
            "RotateImmediately": True,
            **arrangement,
        }
        answer = self._asker.ask("RotateSecret", parameters, what=what, expects="ARN")
        if not isinstance(answer, Refusal):
            return TriggerRotationResult(version=answer.data.get("VersionId") or token, request_id=answer.request_id)
        seen = find(self._asker, self._names, name, what=what)
        if token in (seen.pending, seen.current, seen.previous):
            # It has begun already: an answer got lost, or this is the same rotation once more.
            return TriggerRotationResult(version=token, request_id=seen.request_id)
        raise _not_begun(answer, name, seen, arranged=bool(arrangement))

    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        """Say how far a rotation has come; see ``ServiceRotation.rotation_status``. One request."""
        name = request.name
        seen = find(self._asker, self._names, name, what=f"watching the rotation of {name}")
        return RotationStatusResult(
            # If it is the previous one, it has been replaced since.
            done=request.version in (seen.current, seen.previous),
            current=seen.current,
            request_id=seen.request_id,
        )

    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        """List what the service rotates, and when; see ``ServiceRotation.schedules``.

        One request for each hundred secrets below the prefix.
        """
        what = f"listing the rotations below {request.prefix}" if request.prefix else "listing the rotations"
        found: dict[SecretName, Schedule] = {}
        request_id: str | None = None
        for entries, answered in entries_below(self._asker, self._names, request.prefix, what=what):
            request_id = answered
            schedules = (schedule_of(name, entry) for name, entry in entries.items())
            found.update({schedule.name: schedule for schedule in schedules if schedule is not None})
        return SchedulesResult(schedules=tuple(found[name] for name in sorted(found)), request_id=request_id)

    def _is_named(self, name: SecretName) -> bool:
        return any(matches(pattern, name) for pattern in self._enabled)

    def _arrangement(self, name: SecretName, seen: Seen) -> dict[str, Any]:
        """Return what the service has to be told of how to rotate; nothing if it knows that."""
        data, named = seen.data, self._is_named(name)
        if data.get("OwningService"):
            return {}  # the other service has arranged it
        # What has been turned off there is turned on again if the settings name it.
        arranged = any(data.get(key) for key in (_ARRANGED if named else _ARRANGED[:1]))
        if not arranged and not (self._lambda and named):
            raise ConfigurationError(
                f"{name} has no rotation in AWS, and the settings say of none",
                name=name,
                hint="name its function under `rotation.lambda_arn`, or take the name out of `rotation_enabled`"
                if named
                else "name it under `rotation_enabled`, and its function under `rotation.lambda_arn`",
            )
        if not named:
            return {}
        wanted: dict[str, Any] = {"RotationLambdaARN": self._lambda} if self._lambda else {}
        wanted |= {"RotationRules": self._rules} if self._rules else {}
        settled = (
            bool(data.get("RotationEnabled"))
            and self._lambda in (None, data.get("RotationLambdaARN"))
            and not differs(data.get("RotationRules") or {}, self._rules)
        )
        return {} if settled else wanted


def _not_begun(refusal: Refusal, name: SecretName, seen: Seen, *, arranged: bool) -> StrongroomError:
    """Return the error for a rotation that was refused, of a secret that is there."""
    outcome = outcome_of(refusal)
    if outcome is Outcome.STATE and seen.pending is not None:
        return VersionConflictError(
            f"a rotation of {name} is in progress, with version {seen.pending}",
            expected="absent",
            found=seen.pending,
            name=name,
            hint="wait for its end; if its function has failed, its log in CloudWatch says why, and AWS tries it again",
        )
    error = explained(refusal, seen, name, what=f"rotating {name}")
    if arranged and outcome in NOT_AS_SAID and not isinstance(error, UnsupportedOperationError):
        return ConfigurationError(
            f"AWS refused the rotation that the settings describe for {name} with {refusal.code}",
            name=name,
            hint="check `rotation.lambda_arn`, `every` or `schedule`, and `window`",
        )
    return error
