"""The contract of an anomaly detector: something that judges each access."""

from __future__ import annotations

import enum

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.model import Principal, SecretName


class Access(Record):
    """One access about to happen, or refused by the policy; metadata only."""

    principal: Principal
    action: str
    """``read``, ``list``, ``create``, ``update``, ``rotate`` or ``delete``."""
    name: SecretName
    time: datetime
    """UTC."""
    allowed: bool = True
    """False where the policy has denied it already."""
    base: Principal | None = None
    """Who took on the principal with ``as_principal``, if somebody did: whom the manager was opened for.

    What one principal may do is counted for this one: names of principals cost nothing.
    """


class Decision(enum.Enum):
    """What a detector wants, from least to most."""

    ALLOW = "allow"
    ALERT = "alert"
    BLOCK = "block"


class Verdict(Record):
    """A detector's answer."""

    decision: Decision
    reason: str = ""
    """Why, in one sentence without a final stop; empty for ``ALLOW``."""


class AnomalyDetector(ABC):
    """Judges each access, in constant time, from its metadata. Called from several threads."""

    @abstractmethod
    def judge(self, access: Access) -> Verdict:
        """Return what to do about an access. It must not block and never sees a value."""

    def after_fork(self) -> None:
        """Forget, in a forked child, every lock."""
        return

    def close(self) -> None:
        """Release what is held. Closing twice is no error."""
        return


class DetectorSpec(Record):
    """Describes a kind of detector; what the hook ``strongroom_anomaly_detectors`` yields."""

    name: str
    """What ``type = "..."`` in ``[[anomaly]]`` says; the entry point's name."""
    summary: str
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], AnomalyDetector]

    kind: ClassVar[str] = "anomaly_detector"
