"""The table ``[agent]``."""

from __future__ import annotations

from typing import Final, Literal

from strongroom.contracts import KeySource, Record, Seconds, Size
from strongroom.errors import ConfigurationError
from strongroom_agent.addresses import parse

MOST_NAMES: Final = 256
"""How many names one request may ask for."""

NOBODY: Final = frozenset({65534, 2**32 - 1})
"""Numbers that say nothing: every user of another user namespace looks like these."""


class CallerSettings(Record):
    """One program that may call the agent: ``[agent.callers.NAME]``."""

    principal: str
    """As whom it acts: the policies decide by that name, and the audit trail has it."""
    uid: int | None = None
    """The number of the user that it runs as; it is known by that on a Unix socket."""
    user: str | None = None
    """The name of that user, in place of ``uid``."""
    token: KeySource | None = None
    """The token by which it is known, on loopback and on a Unix socket; `strongroom agent token` makes one."""
    dashboard: bool = False
    """Whether it may look at the dashboard, which shows the audit events of every principal."""

    def problems(self) -> list[str]:
        """Return what is wrong with the caller."""
        found = []
        if not self.principal:
            found.append("principal is empty")
        if (self.uid is None) + (self.user is None) + (self.token is None) != 2:
            found.append("a caller is known by exactly one of uid, user and token")
        if self.uid is not None and (not 0 <= self.uid < 2**32 or self.uid in NOBODY):
            found.append("uid is not the number of one user")
        if self.token is not None and self.token.path is None and self.token.variable is None:
            found.append('token stands in the file itself; keep it in one of its own: {file = "NAME.token"}')
        return found


class AgentSettings(Record):
    """Settings of the agent."""

    listen: tuple[str, ...] = ()
    """Where it listens: loopback addresses such as ``127.0.0.1:8743`` and Unix sockets such as ``unix:/run/x.sock``;
    ``strongroom/agent.sock`` in the runtime folder unless given."""
    socket_mode: Literal["0600", "0660"] = "0600"
    """The mode of its Unix sockets."""
    socket_group: str | None = None
    """The group that its Unix sockets belong to."""
    callers: dict[str, CallerSettings] = {}  # noqa: RUF012  # a default, which nobody changes
    """Who may call, by a name of your choice."""
    hosts: tuple[str, ...] = ()
    """Names by which loopback may be called in the header ``Host``, beside ``localhost`` and the addresses."""
    metrics: Literal["callers", "open"] = "callers"
    """Who may read ``/metrics``: callers, or whoever reaches the agent."""
    requests_per_second: float = 500.0
    """How many names a caller may read in a second, on average."""
    burst: int = 1000
    """How many it may read at once, if it has been quiet before."""
    max_connections: int = 1024
    """How many connections there may be at a time; further ones are told to come back later."""
    max_request_bytes: Size = 65536
    """How large a request's body may be."""
    max_header_bytes: Size = 16384
    """How large a request's headers may be, with its first line."""
    header_timeout: Seconds = 5.0
    """How long a request's headers may take to arrive."""
    body_timeout: Seconds = 10.0
    """How long a request's body may take to arrive."""
    idle_timeout: Seconds = 60.0
    """How long a connection may stay open without a request."""
    write_timeout: Seconds = 10.0
    """How long a caller may take to accept what it is sent."""
    health_every: Seconds = 15.0
    """How often backends and audit sinks are asked how they are."""
    dashboard: bool = False
    """Whether there is a dashboard; only callers with ``dashboard = true`` see it."""
    window_events: int = 20_000
    """How many of the newest audit events the dashboard can search."""

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        return [*self._amounts(), *self._addresses(), *self._uids()]

    def _amounts(self) -> list[str]:
        positive = (
            "requests_per_second header_timeout body_timeout idle_timeout write_timeout health_every "
            "burst max_connections max_request_bytes window_events"
        )
        found = [f"{name} must be more than 0" for name in positive.split() if not getattr(self, name) > 0]
        if self.max_header_bytes < 1024:
            found.append("max_header_bytes must be at least 1024")
        return found

    def _addresses(self) -> list[str]:
        found = []
        for text in self.listen:
            try:
                parse(text)
            except ConfigurationError as error:
                found.append(str(error))
        return found

    def _uids(self) -> list[str]:
        uids = [caller.uid for caller in self.callers.values() if caller.uid is not None]
        return [f"several callers have the uid {uid}" for uid in sorted({one for one in uids if uids.count(one) > 1})]
