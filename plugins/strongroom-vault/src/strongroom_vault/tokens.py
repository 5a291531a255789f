"""The token: got once for many threads, renewed by one owner, kept through an outage, given back on close.

Whoever needs the token takes it from :meth:`TokenKeeper.current`, which sends nothing
as long as there is one. A thread of its own renews it in time; only if it
cannot be renewed any more is there another login, and that before it ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
import time

from collections.abc import Callable
from typing import Final, Self

from strongroom.errors import AuthenticationError, BackendError, ClosedError, StrongroomError
from strongroom.pacing import time_left
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.faults import token_refused
from strongroom_vault.flight import Flight, Refusal
from strongroom_vault.life import Life
from strongroom_vault.login.grants import Login, seconds_in
from strongroom_vault.login.methods import login_for
from strongroom_vault.replies import RefusedError, Reply
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import plain_namespace
from strongroom_vault.transport import Transport

PATIENCE: Final = 60.0
"""For how many seconds there is no login because of a 403, after one that did not help."""
RENEWAL_LIMIT: Final = 10.0
"""How long one try to renew may take, in seconds."""
REVOCATION_LIMIT: Final = 2.0
"""How long closing may take for giving the token back, in seconds."""


class TokenKeeper:
    """Has a token whenever one is needed. It is safe to use from several threads.

    Args:
        login: How to log in.
        transport: The way to the server.
        namespace: Where to log in; empty for the root.
        revoke: Whether a token that was got by logging in is revoked on close.
        renew: Whether a configured token is renewed.
        clock: Monotonic seconds. The wall clock plays no part.
        draw: Returns a random number from 0 to 1.
        owner: Whether a thread renews; else whoever made this calls :meth:`step`.
    """

    def __init__(
        self,
        login: Login,
        transport: Transport,
        *,
        namespace: str = "",
        revoke: bool = True,
        renew: bool = False,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        owner: bool = True,
    ) -> None:
        self.logins = 0
        """How often this process has logged in."""
        self.renewals = 0
        """How often it has renewed a token."""
        self.last_error = ""
        """The code of the error with which the last login or renewal failed; empty if it did not."""
        self._login = login
        self._transport = transport
        self._namespace = namespace
        self._revoke = revoke
        self._renew = renew
        self._clock = clock
        self._draw = draw
        self._owner = owner
        self._closed = False
        self._refusal: Refusal | None = None
        self._start_afresh()

    @classmethod
    def open(cls, auth: AuthSettings, transport: Transport) -> Self:
        """Make one as the configuration says; nothing is sent before a token is needed.

        Args:
            auth: What the configuration says.
            transport: The way to the server.
        """
        target = transport.target
        namespace = target.namespace if auth.namespace is None else plain_namespace(auth.namespace)
        login = login_for(auth, target)
        return cls(login, transport, namespace=namespace, revoke=auth.revoke, renew=auth.renew)

    def _start_afresh(self) -> None:
        # A signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._life: Life | None = None
        self._flight: Flight | None = None
        self._thread: threading.Thread | None = None
        self._patient_until = -math.inf

    def current(self, limit: float = math.inf) -> str:
        """Return a token, having logged in if there is none that lasts.

        Of several threads one logs in, and the others have its token or its error.

        Args:
            limit: How many seconds there are to wait for another thread that logs in.

        Raises:
            AuthenticationError: The server does not let us in.
            ConfigurationError: There is nothing to log in with.
            BackendUnavailableError: The server does not answer.
        """
        while True:
            life = self._life
            token = self._taken(life)
            if token is None:
                token = self._log_in(instead_of=life, limit=limit)
            if token is not None:
                return token

    def ensure(self) -> None:
        """Log in if there is no token that lasts, without taking one of its uses; raises as :meth:`current` does."""
        life = self._life
        if life is None or not life.lasts(self._clock()):
            self._log_in(instead_of=life, take=False)

    def _taken(self, life: Life | None) -> str | None:
        if life is None or not life.lasts(self._clock()):
            return None
        if life.uses is not None:
            with self._lock:
                if life.uses == 0:
                    return None
                life.uses -= 1
        life.used = True
        return life.token

    def cures(self, token: str, reply: Reply, limit: float = math.inf, *, again: bool = False) -> bool:
        """Tell whether a refused request may be sent once more, since there is another token now.

        There is none if the refusal is a policy's. Else there is one login, unless another thread
        has logged in since, or a login did not help against a 403 in the minute before. A configured
        token is looked for once more instead.

        Args:
            token: What the request showed.
            reply: The refusal; it is marked as a denial where the token is known to be good.
            limit: As for :meth:`current`.
            again: Whether the request was refused with another token before.

        Raises:
            StrongroomError: The login failed; see :meth:`current`.
        """
        if not token_refused(reply):
            return False
        life = self._life
        if again:
            self._patient_until = self._clock() + PATIENCE
        elif life is None or life.token != token:
            return True
        if self._clock() < self._patient_until:
            reply.denied = life is None or not life.configured
            return False
        # No frame may hold it while the login fails.
        del token
        self._log_in(instead_of=life, take=False, limit=limit)
        return self._life is not life

    def _log_in(self, *, instead_of: Life | None, take: bool = True, limit: float = math.inf) -> str | None:
        """Log in unless somebody else is at it or has been; return the token if it was this thread."""
        ours = Flight()
        try:
            with self._lock:
                if self._life is not instead_of:
                    return None
                other = self._flight
                # A signal's handler cannot wait for the thread that it interrupts.
                if other is None or other.leader == ours.leader:
                    self._flight, other = ours, None
            if other is None:
                return self._adopted(self._granted(), take=take)
        except StrongroomError as error:
            ours.error = error
            self.last_error = error.code
            raise
        finally:
            with self._lock:
                if self._flight is ours:
                    self._flight = None
            ours.done.set()
        left = time_left()
        other.wait(limit if left is None else min(limit, left))
        return None

    def _granted(self) -> Life:
        if self._closed:
            raise ClosedError("the way to the server is closed")
        since = self._clock()
        if self._refusal is not None:
            self._refusal.hold(since)
        adapter = VaultAdapter(self._transport, None, namespace=self._namespace, repeatable=self._login.repeatable)
        try:
            grant = self._login.grant(adapter.client())
        except AuthenticationError as error:
            self._refusal = Refusal(error, self._login.sources, self._clock(), self._refusal)
            raise
        self._refusal = None
        self.logins += not grant.configured
        return Life(grant, since, self._draw, renew=self._renew)

    def _adopted(self, life: Life, *, take: bool) -> str | None:
        with self._lock:
            old = self._life
            if old is not None and old.configured and old.token == life.token:
                life = old  # it was looked for, and is still the same
            self.last_error = ""
            closed, token = self._closed, None
            if not closed:
                # Before others see it, or they might take all of its uses.
                token = (self._taken(life) or life.token) if take else None
                self._life = life
                self._watch()
        if closed:
            self._give_back(life)
            raise ClosedError("the way to the server was closed during the login")
        return token

    def due(self) -> float:
        """Return when there is something to do for :meth:`step`, on the clock; infinity for never."""
        life = self._life
        return math.inf if life is None else life.due

    def step(self) -> None:
        """Renew or replace the token if that is due. Only its owner calls this."""
        life = self._life
        if life is None or self._clock() < life.due:
            return
        try:
            if life.renewable and self._clock() < life.expires:
                self._renew_token(life)
            else:
                self._replace(life)
        # Whatever a source of credentials or a library of a cloud's raises: nobody else renews.
        except Exception as error:  # noqa: BLE001  # see above
            self._stumbled(life, error)

    def _renew_token(self, life: Life) -> None:
        since = self._clock()
        try:
            reply = self._with(life).send("POST", "/v1/auth/token/renew-self", content={}, timeout=RENEWAL_LIMIT)
        except RefusedError as refused:
            self._not_renewed(life, refused.reply)
        except StrongroomError as error:
            # An outage: the token is as good as before.
            self.last_error = error.code
            life.failed(self._clock())
        else:
            auth = reply.body.get("auth") or {}
            life.renewed(since, seconds_in(auth), renewable=bool(auth.get("renewable")))
            self.renewals += 1
            self.last_error = ""

    def _not_renewed(self, life: Life, reply: Reply) -> None:
        if reply.status >= 429:
            life.failed(self._clock())
            return
        if not token_refused(reply):
            # It may not, or cannot: a root token, one without the right, one at its end.
            life.cannot_renew(self._clock())
            return
        self.last_error = AuthenticationError.codes[0]
        life.rest()
        with self._lock:
            if self._life is life and not life.configured:
                self._life = None  # whoever needs one next logs in

    def _replace(self, life: Life) -> None:
        if life.configured or not life.used:
            life.rest()
            return
        try:
            self._log_in(instead_of=life, take=False)
        except AuthenticationError:
            # To ask again would not help, and may lock us out: the next one who needs a token is told.
            life.rest()
        except StrongroomError:
            self._later(life)

    def _stumbled(self, life: Life, error: Exception) -> None:
        import logging  # a process in which all goes well has no need of it

        logging.getLogger("strongroom.vault").warning("looking after the token failed with %s", type(error).__name__)
        self.last_error = BackendError.codes[0]
        self._later(life)

    def _later(self, life: Life) -> None:
        life.failed(self._clock()) if self._clock() < life.expires else life.rest()

    def _watch(self) -> None:
        """Have the thread look at a new token; the lock is held."""
        self._wake.notify_all()
        if not self._owner or self._thread is not None or self.due() == math.inf:
            return
        thread = threading.Thread(target=self._own, name="strongroom-vault-token", daemon=True)
        # With too many threads there is none, and the token is replaced when it has ended.
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _own(self) -> None:
        while True:
            with self._lock:
                while not self._closed and self._clock() < self.due() < math.inf:
                    self._wake.wait(min(self.due() - self._clock(), threading.TIMEOUT_MAX))
                if self._closed or self.due() == math.inf:
                    self._thread = None
                    return
            self.step()

    def tenure(self) -> tuple[int, float]:
        """Return the number of the token, another one for each, and how many seconds that has left.

        What the server leases under a token ends with the token. These are infinite if it does not end or that
        is not known; without a token the number is 0. Nothing is sent, and no use of the token is taken.
        """
        life = self._life
        return (0, math.inf) if life is None else (life.serial, max(0.0, life.expires - self._clock()))

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return what monitoring may want to know of the token, by name."""
        life, (_, left) = self._life, self.tenure()
        found = [("logins", str(self.logins)), ("renewals", str(self.renewals))]
        if life is not None:
            found.append(("token", "configured" if life.configured else "logged in"))
            found.append(("token_renewable", "yes" if life.renewable else "no"))
        if life is not None and life.request_id is not None:
            # By it the login is found in the server's own audit log.
            found.append(("login_request", life.request_id))
        if left < math.inf:
            found.append(("token_seconds_left", f"{left:.0f}"))
        if self.last_error:
            found.append(("last_login_error", self.last_error))
        return tuple(found)

    def figures(self) -> tuple[tuple[str, float], ...]:
        """Return what metrics may want to know of the token: how long it has to live, if it does not live for ever."""
        _, left = self.tenure()
        return (("token_seconds", left),) if left < math.inf else ()

    def after_fork(self) -> None:
        """Forget the token in a forked child: it is the parent's to renew and to give back."""
        self._start_afresh()
        self.logins = self.renewals = 0
        self._login.after_fork()

    def keep(self) -> None:
        """Give no token back on close: something that was leased under it is to live on."""
        self._revoke = False

    def close(self) -> None:
        """Give the token back, if it was got by logging in, and stop renewing it; failures are ignored."""
        with self._lock:
            self._closed = True
            life, self._life = self._life, None
            self._wake.notify_all()
        if life is not None:
            self._give_back(life)

    def _give_back(self, life: Life) -> None:
        ours = life.process == os.getpid() and not life.configured
        if self._revoke and ours and not life.batch and life.lasts(self._clock()):
            with contextlib.suppress(RefusedError, StrongroomError):
                self._with(life).send("POST", "/v1/auth/token/revoke-self", timeout=REVOCATION_LIMIT)

    def _with(self, life: Life) -> VaultAdapter:
        return VaultAdapter(self._transport, _Shown(life.token), namespace=self._namespace, repeatable=True)


class _Shown:
    """A token that is shown as it is."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self, limit: float) -> str:  # noqa: ARG002  # it is there
        return self._token

    def cures(self, token: str, reply: Reply, limit: float, *, again: bool = False) -> bool:  # noqa: ARG002  # nothing does
        return False
