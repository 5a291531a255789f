"""What concerns deleted versions and the notes about a secret: bring back, destroy, describe, annotate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from strongroom._record import Record
from strongroom.audit.stage import recorded_at_once
from strongroom.contracts.recovery import AnnotateRequest, DescribeRequest, DestroyRequest, UndeleteRequest
from strongroom.errors import InvalidNameError, InvalidValueError
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.stages.changing import Changer


class Undeleted(Record):
    """What was brought back."""

    name: SecretName
    version: str
    subscribers_failed: tuple[str, ...] = ()
    """Subscribers that raised or did not return in time, one sentence each."""
    copy_failed: str = ""
    """Why the copy in the fallback store could not be dropped; empty if it is, or if there is none."""


class Destroyed(Record):
    """What was destroyed."""

    name: SecretName
    existed: bool
    """Whether there was anything to destroy."""
    subscribers_failed: tuple[str, ...] = ()
    copy_failed: str = ""
    """As in :class:`Undeleted`."""


class Description(Record):
    """What is known of a secret beside its value."""

    name: SecretName
    metadata: dict[str, str]
    """What users have noted, by name; never a secret."""
    backend: str
    version: str | None = None
    """The newest version, whatever its state."""
    created: datetime | None = None
    updated: datetime | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """What else the backend says, such as how many versions it keeps."""


class Curator(Changer):
    """Looks after deleted versions and notes as one principal."""

    @recorded_at_once
    def undelete(self, name: str, *, version: str | None) -> Undeleted:
        """Bring a deleted version back; see :meth:`SecretManager.undelete`."""
        with self._admitted("undelete", Action.UPDATE, name) as (canonical, backend):
            backend.refuse_leased(canonical, "undeleting")
            backend.check_recovery()
            request = UndeleteRequest(name=canonical, version=None if version is None else _version(version))
        # From the attempt on, as below: if nothing can be recorded afterwards, the trail must still say of what.
        with self._change("undelete", canonical, backend.name, version=request.version) as outcome:
            result = backend.undelete(request)
            outcome.update(version=result.version, request_id=result.request_id)
            # Nobody has told which value is the current one now.
            problem = self._renew_copy(outcome, backend, canonical, None)
        failed = self._notify(canonical, "undelete", result.version)
        return Undeleted(name=canonical, version=result.version, subscribers_failed=failed, copy_failed=problem)

    @recorded_at_once
    def destroy(self, name: str, *, versions: Iterable[str] | None) -> Destroyed:
        """Remove versions, or the secret as a whole, for good; see :meth:`SecretManager.destroy`."""
        with self._admitted("destroy", Action.DELETE, name) as (canonical, backend):
            backend.refuse_leased(canonical, "destroying")
            backend.check_recovery()
            request = DestroyRequest(name=canonical, versions=() if versions is None else _several(versions))
        detail = f"versions {', '.join(request.versions)}" if request.versions else None
        with self._change("destroy", canonical, backend.name, detail=detail) as outcome:
            result = backend.destroy(request)
            outcome.update(request_id=result.request_id, result="ok" if result.existed else "not_found")
            problem = self._renew_copy(outcome, backend, canonical, None)
        failed = self._notify(canonical, "destroy", None)
        return Destroyed(name=canonical, existed=result.existed, subscribers_failed=failed, copy_failed=problem)

    @recorded_at_once
    def describe(self, name: str) -> Description:
        """Return what is known of a secret beside its value; see :meth:`SecretManager.describe`."""
        with self._admitted("describe", Action.READ, name) as (canonical, backend):
            backend.refuse_leased(canonical, "describing")
            backend.check_notes()
        with self._gate.recording_look("describe", canonical, backend=backend.name) as facts:
            found = backend.describe(DescribeRequest(name=canonical))
            facts.update(version=found.version, request_id=found.request_id)
        return Description(
            name=canonical,
            metadata=dict(found.metadata),
            backend=backend.name,
            version=found.version,
            created=found.created,
            updated=found.updated,
            facts=found.facts,
        )

    @recorded_at_once
    def annotate(self, name: str, metadata: Mapping[str, str]) -> None:
        """Replace what is noted about a secret; see :meth:`SecretManager.annotate`."""
        with self._admitted("annotate", Action.UPDATE, name) as (canonical, backend):
            backend.refuse_leased(canonical, "annotating")
            backend.check_notes()
            request = AnnotateRequest(name=canonical, metadata=_notes(metadata))
        with self._change("annotate", canonical, backend.name) as outcome:
            result = backend.annotate(request)
            outcome.update(request_id=result.request_id, count=len(request.metadata))

    @contextmanager
    def _admitted(self, event: str, action: Action, name: str) -> Iterator[tuple[SecretName, GuardedBackend]]:
        """Let policy and detectors decide, and open the backend; record what is refused, in the ``with`` block, too."""
        gate = self._gate.recording_as(event)
        canonical = gate.check(action, name)
        gate.judge(action, canonical)
        with gate.recording_refusal(action, canonical):
            yield canonical, self._parts.backend(self._parts.routing.of(canonical))


def _version(version: object) -> str:
    if isinstance(version, str):
        return str.__str__(version)  # the text itself: it may be of a class that compares as it likes
    raise InvalidNameError(f"a version is text, not {type(version).__name__}", hint="versions() lists them")


def _several(versions: object) -> tuple[str, ...]:
    # A text is a sequence, too, and an empty sequence is not the secret as a whole: what is destroyed stays so.
    if isinstance(versions, str) or not isinstance(versions, Iterable):
        raise InvalidNameError(
            f"versions are a sequence of texts, not {type(versions).__name__}", hint='write ["3"] for version 3'
        )
    found = tuple(map(_version, versions))
    if not found:
        raise InvalidNameError("no version is named", hint="leave versions out to destroy the secret as a whole")
    return found


def _notes(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, Mapping):
        raise InvalidValueError(f"notes are a mapping, not {type(metadata).__name__}", hint="give names and texts")
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str) or not name:
            raise InvalidValueError("each note has a name and a text", hint="write other values as text")
    return {str.__str__(name): str.__str__(text) for name, text in metadata.items()}
