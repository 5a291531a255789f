"""Alerts as subscribers get them: callbacks, commands and webhooks (``[[alerts]]``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from strongroom.anomaly.stage import Alert
from strongroom.events.delivery import Delivery, Wording
from strongroom.events.subscribers import delivery_of

if TYPE_CHECKING:
    from strongroom.config.alerts import AlertKeys
    from strongroom.config.load import Configuration

WORDING: Final = Wording(one="an alert", many="alerts")


def alerts_of(configuration: Configuration) -> Delivery[Alert]:
    """Return what tells the subscribers that ``[[alerts]]`` names; nothing is started or sent by that.

    Args:
        configuration: The configuration.

    Raises:
        ConfigurationError: A webhook's secret is not where it should be.
    """
    return delivery_of(configuration, WORDING, configuration.alerts, body_of, filter_of)


def filter_of(keys: AlertKeys) -> Callable[[Alert], bool]:
    """Return what tells whether a table wants an alert."""

    def wants(alert: Alert) -> bool:
        return (keys.detectors is None or alert.detector in keys.detectors) and (alert.blocked or not keys.only_blocked)

    return wants


def body_of(alert: Alert) -> bytes:
    """Return an alert as a command and a webhook get it: one JSON object in UTF-8."""
    import json

    access = alert.access
    content = {
        "id": alert.id,
        "time": access.time.isoformat(timespec="microseconds"),
        "detector": alert.detector,
        "reason": alert.reason,
        "evidence": list(alert.evidence),
        "blocked": alert.blocked,
        "suppressed": alert.suppressed,
        "access": {
            "principal": access.principal.name,
            "principal_source": access.principal.source.value,
            "on_behalf_of": access.base.name if access.base is not None else None,
            "action": access.action,
            "name": access.name,
            "allowed": access.allowed,
            "host": access.host,
            "process": access.process,
        },
    }
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
