"""Whether the server can answer, our token is good and the engine is there, within a few seconds."""

from __future__ import annotations

import threading

from collections.abc import Mapping
from typing import Final

from strongroom.contracts import Health, HealthState
from strongroom.errors import StrongroomError
from strongroom.joining import join
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.detection import version_told
from strongroom_vault.faults import misplaced, refusal, token_refused
from strongroom_vault.paths import quoted
from strongroom_vault.replies import Reply
from strongroom_vault.settings import DETECT, VaultSettings
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transport import Transport

LIMIT: Final = 3.0
"""How many seconds each of the two halves may take: asking the server how it is, and trying our token."""

_USABLE: Final[Mapping[int, str]] = {200: "active", 429: "standby", 473: "performance standby"}
"""By the status with which a server answers when asked for its health, where 429 is no rate limit."""
_UNUSABLE: Final[Mapping[int, tuple[str, str]]] = {
    472: ("disaster recovery secondary", "ask the primary, or promote this one"),
    501: ("not initialised", "initialise it: `bao operator init` or `vault operator init`"),
    503: ("sealed", "unseal it: `bao operator unseal` or `vault operator unseal`"),
}
_NO_RIGHT: Final = "preflight capability check"

Facts = tuple[tuple[str, str], ...]


class Examination:
    """Examines the server and what we need of it.

    Args:
        adapter: The way to the server with our token.
        transport: The way to the server without.
        tokens: Has our token.
        settings: Say how we log in, where the engine for secrets is, and which version it is to have.
    """

    def __init__(
        self, adapter: AskingAdapter, transport: Transport, tokens: TokenKeeper, settings: VaultSettings
    ) -> None:
        self._adapter = adapter
        self._transport = transport
        self._tokens = tokens
        self._method = settings.auth.method
        self._mount = settings.mount.strip("/")
        self._version = settings.kv_version

    def health(self) -> Health:
        """Say how the server is, which takes no token, and if it can be used, how our token and the engine are."""
        try:
            reply = self._transport.send("GET", "/v1/sys/health", headers={}, timeout=LIMIT)
        except StrongroomError as error:
            return self._down("unreachable", error.what, error.hint)
        state = _USABLE.get(reply.status)
        if state is not None and _speaks_json(reply):
            return self._tried(self._told(reply, state)).replace(figures=self._tokens.figures())
        state, hint = _UNUSABLE.get(reply.status, ("unknown", "check `address`: it may be that of something else"))
        what = f"the server is {state}"
        if state == "unknown":
            what = f"the server answers with HTTP status {reply.status} when asked for its health"
        return self._down(state, what, hint, self._told(reply, state)[1:])

    def _tried(self, facts: Facts) -> Health:
        """Return the health of a server that can be used, as far as we can use it."""
        outcome = self._seen()
        if isinstance(outcome, Reply):
            return self._judged(outcome, facts)
        what, hint = f"logging in takes more than {LIMIT:g} s", "see what the server asks in turn"
        if outcome is not None:
            what, hint = outcome.what, outcome.hint
        return Health(state=HealthState.DOWN, reason=what, hint=hint, facts=self._all(facts))

    def _seen(self) -> Reply | StrongroomError | None:
        """Return what the server says of the engine, why there is no answer, or nothing if none came in time.

        It may take a login first, in which the server asks others: no time limit of ours ends that early enough.
        """
        outcomes: list[Reply | StrongroomError] = []

        def ask() -> None:
            path = f"/v1/sys/internal/ui/mounts/{quoted(self._mount)}"
            try:
                outcomes.append(self._adapter.request("GET", path, timeout=LIMIT))
            except StrongroomError as error:
                outcomes.append(error)

        thread = threading.Thread(target=ask, name="strongroom-vault-health", daemon=True)
        thread.start()
        join(thread, LIMIT)
        return outcomes[0] if outcomes else None

    def _judged(self, reply: Reply, facts: Facts) -> Health:
        what = f"seeing the engine at {self._mount}"
        wrong = refusal(reply, what) if token_refused(reply) else misplaced(reply, what)
        if wrong is not None:
            return Health(state=HealthState.DOWN, reason=wrong.what, hint=wrong.hint, facts=self._all(facts))
        if _NO_RIGHT in reply.errors:
            return Health(
                state=HealthState.DEGRADED,
                reason=f"there is no engine at {self._mount}, or the token's policies allow nothing in it",
                hint="check `mount`, and the policies of the token",
                facts=self._all(facts),
            )
        # What else is refused here says nothing about the secrets: the path is there for people's pages only.
        if reply.status != 200:
            return Health(state=HealthState.UP, facts=self._all((*facts, ("mount", "not told"))))
        state, reason, hint = HealthState.DEGRADED, "", ""
        try:
            version = version_told(reply, self._mount)
        except StrongroomError as error:
            reason, hint = error.what, error.hint
        else:
            facts = (*facts, ("mount", "reachable"), ("kv_version", str(version)))
            if self._version in (DETECT, version):
                state = HealthState.UP
            else:
                reason, hint = f"the engine at {self._mount} has another version", f"set kv_version to {version}"
        return Health(state=state, reason=reason, hint=hint, facts=self._all(facts))

    @staticmethod
    def _told(reply: Reply, state: str) -> Facts:
        body = reply.body
        known = [("server", state)]
        known += [
            (name, str(body[key]))
            for key, name in (("version", "version"), ("cluster_name", "cluster"))
            if body.get(key)
        ]
        return tuple(known)

    def _all(self, facts: Facts) -> Facts:
        return (*facts, ("method", self._method), *self._tokens.facts(), ("retries", str(self._transport.retries)))

    def _down(self, state: str, reason: str, hint: str, facts: Facts = ()) -> Health:
        return Health(state=HealthState.DOWN, reason=reason, hint=hint, facts=self._all((("server", state), *facts)))


def _speaks_json(reply: Reply) -> bool:
    """Tell a Vault, whose body may be lost on the way, from any other server, which has pages to show."""
    return "json" in str(reply.headers.get("Content-Type", "json"))
