"""The gate in front of every operation: canonical name, then policy, then detectors."""

from __future__ import annotations

from strongroom.errors import AccessDeniedError, ClosedError, InvalidNameError, StrongroomError
from strongroom.model import Principal, SecretName
from strongroom.policy import Action, denied
from strongroom.wiring import Parts


class Gate:
    """Decides what one principal may do, and records what it refuses.

    Args:
        parts: The stages of the manager.
        principal: Who asks.
        base: On whose behalf the principal was taken on; its rights limit the
            principal's, unless it may impersonate.
    """

    def __init__(self, parts: Parts, principal: Principal, base: Principal | None) -> None:
        self.principal = principal
        self.base = base
        self.judges = bool(parts.anomaly.detectors)
        self._parts = parts

    def check(self, action: Action, spelling: str) -> SecretName:
        """Return the canonical name if this principal may do this to it, and record it if not.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            AccessDeniedError: The policy does not allow it.
            ClosedError: The manager is closed.
        """
        if self._parts.closed:
            raise ClosedError("the manager is closed", hint="open a new one")
        try:
            name = SecretName(spelling)
            self.allow(action, name)
        except (InvalidNameError, AccessDeniedError) as error:
            self.refused(action, spelling, error)
            raise
        return name

    def allow(self, action: Action, name: SecretName) -> None:
        """Check this principal's right, and the base's too unless it may act as this one.

        Raises:
            AccessDeniedError: One of the two has not got it.
        """
        policy = self._parts.policy
        ruling = policy.decide(self.principal.name, action, name)
        if ruling.allowed and self.base is not None and not self.impersonates():
            ruling = policy.decide(self.base.name, action, name)
        if not ruling.allowed:
            # The detectors see what was denied, too; whether they block it as well changes nothing.
            self._parts.anomaly.observe(self.principal, action, name)
            raise denied(self.principal.name, action, name, ruling.rule)

    def impersonates(self) -> bool:
        """Tell whether the base may act as this principal with all of its rights."""
        base = self.base
        return (
            base is not None and self._parts.policy.decide(base.name, Action.IMPERSONATE, self.principal.name).allowed
        )

    def judge(self, action: Action, name: SecretName) -> None:
        """Let the detectors see an access, and record it if one of them blocks it.

        Raises:
            SuspiciousActivityError: A detector blocks it.
        """
        try:
            self._parts.anomaly.judge(self.principal, action, name)
        except AccessDeniedError as error:
            self.refused(action, name, error)
            raise

    def refused(self, action: Action, spelling: object, error: StrongroomError) -> None:
        """Record that an access was refused; the name is kept as it was spelled."""
        self._parts.audit.record(
            self._parts.audit.event(
                "get" if action is Action.READ else action.value,
                principal=self.principal,
                key=str(spelling)[:512],
                result=error.code,
                rule=getattr(error, "rule", None),
            )
        )

    def may_list(self, name: SecretName) -> bool:
        """Tell whether the principal may see that there is such a secret."""
        policy = self._parts.policy
        principals = [self.principal] + ([self.base] if self.base is not None and not self.impersonates() else [])
        return all(policy.decide(principal.name, Action.LIST, name).allowed for principal in principals)
