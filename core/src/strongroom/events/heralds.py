"""Tells whoever asked for it what has happened, alerts and announcements, and waits for nobody.

What does that is made when first needed: most programs tell nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.anomaly.stage import Alert
    from strongroom.config.load import Configuration
    from strongroom.events.announcements import Notice
    from strongroom.events.delivery import Delivery, DeliveryCounts
    from strongroom.events.updates import Announcement, SecretUpdated


class Heralds:
    """The subscribers to alerts and to announcements, those of the configuration included.

    Args:
        configuration: Names those outside the process.
        wall_clock: Nanoseconds since 1970, UTC.

    Raises:
        ConfigurationError: A webhook's secret is not where it should be.
    """

    def __init__(self, configuration: Configuration, wall_clock: Callable[[], int]) -> None:
        self._configuration = configuration
        self._wall_clock = wall_clock
        # Single steps on a dictionary need no lock, which a fork could find held.
        self._made: dict[str, Delivery[Any]] = {}
        if configuration.alerts:
            self._alerts()
        if configuration.announcements:
            self._announcements()

    def _alerts(self) -> Delivery[Alert]:
        if "alerts" not in self._made:
            from strongroom.events.alerts import alerts_of

            self._made.setdefault("alerts", alerts_of(self._configuration))
        return self._made["alerts"]

    def _announcements(self) -> Delivery[Notice]:
        if "announcements" not in self._made:
            from strongroom.events.announcements import announcements_of

            self._made.setdefault("announcements", announcements_of(self._configuration))
        return self._made["announcements"]

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Have a function called with each alert, until what is returned is called."""
        return self._alerts().subscribe(callback)

    def on_rotation(self, pattern: str, callback: Callable[[Announcement], object]) -> Callable[[], None]:
        """Have a function called with announcements about some names, until what is returned is called.

        Args:
            pattern: A name or a pattern, which is well-formed.
            callback: Takes the announcement.
        """
        from strongroom.events.announcements import subscribe

        return subscribe(self._announcements(), pattern, callback)

    def alert(self, alert: Alert) -> None:
        """Tell of an alert."""
        if "alerts" in self._made:
            self._alerts().publish(alert)

    def announce(self, event: Announcement | SecretUpdated) -> None:
        """Tell of a rotation, or outside the process of a change that this process has made."""
        if "announcements" not in self._made:
            return
        from strongroom.events.announcements import notice_of

        notice = notice_of(event, self._wall_clock())
        if notice is not None:
            self._announcements().publish(notice)

    def counts(self) -> dict[str, DeliveryCounts]:
        """Return how deliveries went, by ``alerts`` and ``announcements``, as far as somebody was to be told."""
        return {kind: one.counts() for kind, one in self._made.copy().items()}

    def after_fork(self) -> None:
        """Start, in a forked child, with nothing that waits."""
        for one in self._made.copy().values():
            one.after_fork()

    def close(self) -> None:
        """Let what waits be delivered within one limit for all; twice is no error."""
        if self._made:
            from strongroom.events.delivery import close_all

            close_all(list(self._made.values()))
