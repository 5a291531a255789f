"""The way to the server: attempts, the deadline, and which node is asked."""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable
from typing import Final, NoReturn

from urllib3 import BaseHTTPResponse, Retry, Timeout
from urllib3.exceptions import HTTPError

from strongroom import pacing
from strongroom.errors import BackendError, BackendUnavailableError, StrongroomError
from strongroom.telemetry import count_resend, note_exchange, quiet
from strongroom_vault.indexes import Index, beyond_all
from strongroom_vault.outages import ANY_STATUS, ELECTION, HINTS, READS, Fault, refused, unanswered, without_body
from strongroom_vault.replies import Reply
from strongroom_vault.routing import Node, Nodes
from strongroom_vault.target import Target

_ONCE: Final = Retry(False, redirect=False)  # noqa: FBT003  # urllib3's own spelling of "never"
MAX_HOPS: Final = 4
"""How often one attempt is sent on by nodes that are not the active one."""
ASKING_SECONDS: Final = 2.0
"""How long one attempt to find out which node is the active one may take."""
SHARES: Final = 3
"""An attempt that may be repeated gets at least such a part of the time that is left."""
LONGEST_WAIT: Final = 86_400.0
"""Seconds. A socket cannot wait for more than 24 days."""


class _Call:
    """A request, and what has become of it so far."""

    __slots__ = (
        "attempts",
        "body",
        "end",
        "headers",
        "hops",
        "longest",
        "method",
        "path",
        "repeatable",
        "resends",
        "tried",
    )

    def __init__(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, *, repeatable: bool, end: float
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.repeatable = repeatable
        self.end = end
        self.longest = LONGEST_WAIT
        self.attempts = 0
        self.resends = 0
        self.hops = 0
        self.tried: list[Node] = []

    def forget(self) -> None:
        """Hold no token and no value any longer: an error's traceback keeps what is left."""
        self.headers = {}
        self.body = None


class Transport:
    """Sends requests. It is safe to use from several threads; it knows no token.

    Args:
        target: Where the server is and how it is reached.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.

    Attributes:
        target: The same.
        clock: The same.
        requests: How many requests were sent, each attempt counted.
        retries: How many of these were sent again.

    Raises:
        ConfigurationError: A file that TLS needs is not usable.
    """

    def __init__(
        self,
        target: Target,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.target = target
        self.requests = 0
        self.retries = 0
        self.clock = clock
        self._sleep = sleep
        self._inherited: list[Nodes] = []
        self._index = Index()
        self._pinned: dict[str, str] = {}
        self._seeking = target.reads == "active"
        if not target.tls.verify and any(address.startswith("https") for address in target.addresses):
            _warn("the server's certificate is not verified: anybody between us and it can read all that is sent")
        self._prepare()

    def _prepare(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._nodes = Nodes(self.target)
        rate = self.target.rate_limit
        self._bucket = pacing.Bucket(rate, self.target.burst, self.clock) if rate is not None else None

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        repeatable: bool = False,
        timeout: float | None = None,
    ) -> Reply:
        """Send a request until it is answered or the deadline has come.

        Each status is an answer but 412, 429 and those from 500 on, 501 left out; at ``sys/health``,
        ``sys/leader`` and ``sys/seal-status`` these are, too.

        Args:
            method: The HTTP method.
            path: From ``/v1/`` on, with a query if there is one; quoted.
            headers: Those that concern this request.
            body: What to send.
            repeatable: Whether sending it twice does no harm. One of which it is known that it was not
                acted on is sent again in any case.
            timeout: How many seconds all attempts may take; the target's own unless given.

        Returns:
            The server's answer, whatever its status, unless that means an outage.

        Raises:
            BackendUnavailableError: There is no answer in time, or the server says that it cannot answer now.
            BackendError: The server could not be trusted (code ``tls_failed``), or what answers is none.
            ClosedError: The transport was closed.
        """
        if os.getpid() != self._pid:
            self.after_fork()
        left = pacing.time_left()
        seconds = self.target.timeout if timeout is None else timeout
        end = self.clock() + (seconds if left is None else min(seconds, left))
        call = _Call(method, path, headers, body, repeatable=repeatable, end=end)
        del headers, body
        node = self._first(call)
        while True:
            outcome = self._once(node, call)
            if isinstance(outcome, Reply):
                note_exchange(address=node.host, port=node.port, resends=call.resends)
                return outcome
            node = self._next(node, call, outcome)

    def after_fork(self) -> None:
        """Use new connections in a forked child, and leave the parent's alone."""
        # Kept, so that nothing closes what the parent still uses.
        self._inherited.append(self._nodes)
        self._index.after_fork()
        self._prepare()

    def reconnect(self) -> None:
        """Make new connections from now on, for which files of certificates are read again if they have changed."""
        self._nodes.renew()

    def close(self) -> None:
        """Close all connections; twice is no error."""
        if os.getpid() == self._pid:
            self._nodes.close()

    def _first(self, call: _Call) -> Node:
        if self._seeking:
            self._find_active(call.end)
        nodes = self._nodes
        return nodes.current if call.repeatable or nodes.active is None else nodes.active

    def _once(self, node: Node, call: _Call) -> Reply | Fault | StrongroomError | Node:
        """Send it once; return the answer, what went wrong, or the node that we are sent to."""
        if self._bucket is not None:
            self._wait_for_token(call)
        added = self._added(call)
        headers = {**call.headers, **added} if added else call.headers
        left = call.end - self.clock()
        if call.repeatable:
            # A node that hangs must leave time for another one.
            left /= min(max(1, self.target.attempts - call.attempts), SHARES)
        with self._lock:
            self.requests += 1
        try:
            # Also in threads of our own, where the core has not done it.
            with quiet():
                answer = node.pool.urlopen(
                    call.method,
                    node.before + call.path,
                    call.body,
                    headers,
                    _ONCE,
                    redirect=False,
                    assert_same_host=False,
                    timeout=Timeout(total=min(max(left, 0.001), call.longest)),
                )
        except HTTPError as error:
            return unanswered(error, node.name)
        except (ValueError, TypeError) as error:
            # Its text may repeat a token that has a line end in it.
            return BackendError(
                f"the request is none that HTTP can carry ({type(error).__name__})",
                hint="a token, namespace or header must not hold line ends or letters beyond Latin-1",
            )
        return self._received(node, call, answer, indexed=bool(added))

    def _added(self, call: _Call) -> dict[str, str]:
        """Return the headers that say which state of the cluster is needed, if one is."""
        reading = call.repeatable or call.method in READS
        added = self._pinned or (self._index.headers if reading else self._index.changing or self._index.headers)
        if added and call.path.startswith(ANY_STATUS):
            return {}  # or it would be another node that says how it is
        return added

    def _received(
        self, node: Node, call: _Call, answer: BaseHTTPResponse, *, indexed: bool
    ) -> Reply | Fault | StrongroomError | Node:
        """Return what an answer is."""
        fault = None if answer.data else without_body(call.method, call.path, answer.status, answer.headers)
        if fault is not None:
            return fault
        # Asked for in this way since a mapping's `get` costs ten times as much for what is not there.
        index = answer.headers["X-Vault-Index"] if "X-Vault-Index" in answer.headers else None  # noqa: SIM401  # see above
        if call.method in READS:
            self._index.learn(index)
        else:
            self._index.note(index)
        reply = Reply(answer.status, answer.headers, answer.data)
        if answer.status < 300 and (reply.body or not answer.data):
            if node not in self._nodes.configured:
                self._nodes.active = node
            return reply
        return self._judged(node, call, reply, answer.data, indexed)

    def _judged(
        self, node: Node, call: _Call, reply: Reply, content: bytes, indexed: bool
    ) -> Reply | Fault | StrongroomError | Node:
        location = reply.headers.get("Location")
        if 300 <= reply.status < 400 and location:
            return self._redirected(node, call, reply.status, location)
        if indexed and reply.status == 400 and "X-Vault-Index" in reply.errors:
            self._index.forget()
            return Fault("unavailable", "does not understand its own index", base=0.0)
        return refused(reply, call.path, content, indexed=indexed)

    def _redirected(self, node: Node, call: _Call, status: int, location: str) -> Fault | StrongroomError | Node:
        call.hops += 1
        if status not in (307, 308):
            return BackendError(
                f"{node.name} sends us elsewhere with HTTP status {status}",
                hint="write in the address where the server itself is, with https:// if it speaks TLS",
            )
        if call.hops > MAX_HOPS:
            return Fault("unavailable", "and others send us around in a circle", base=ELECTION)
        try:
            return self._nodes.redirected(node, call.path, location)
        except StrongroomError as error:
            return error.with_traceback(None)

    def _next(self, node: Node, call: _Call, outcome: Fault | StrongroomError | Node) -> Node:
        """Return the node to ask next, having waited if need be, or raise what went wrong."""
        if isinstance(outcome, Node):
            call.tried.append(node)
            return outcome
        if isinstance(outcome, StrongroomError):
            call.forget()
            raise outcome
        following = self._elsewhere(node, call, outcome)
        if following is None:
            following = self._again(node, call, outcome)
        with self._lock:
            self.retries += 1
        call.resends += 1
        count_resend("vault")
        return following

    def _elsewhere(self, node: Node, call: _Call, fault: Fault) -> Node | None:
        """Return a node that has not been tried since the last wait, if that may help and is allowed."""
        if fault.renew:
            node.renew()
        if fault.elsewhere:
            self._nodes.failed(node)
            self._seeking = self.target.reads == "active"
        call.tried.append(node)
        if fault.acted and not call.repeatable:
            self._give_up(node, call, fault)
        untried = [one for one in self._nodes.configured if one not in call.tried] if fault.elsewhere else []
        if fault.sent or not untried:
            call.attempts += 1
        if call.attempts >= self.target.attempts or self.clock() >= call.end:
            self._give_up(node, call, fault)
        return self._nodes.current if self._nodes.current in untried else next(iter(untried), None)

    def _again(self, node: Node, call: _Call, fault: Fault) -> Node:
        """Wait, and begin anew."""
        wait = fault.wait
        if not wait:  # 0 would be for one client, and there may be many
            # A node sent us to one that does not answer: the cluster will find another leader, which takes a while.
            base = max(fault.base, ELECTION) if call.hops else fault.base
            wait = pacing.delay(call.attempts, base) if base else 0.0
        if self.clock() + wait >= call.end:
            self._give_up(node, call, fault)
        call.tried.clear()
        call.hops = 0
        self._sleep(wait)
        return self._nodes.current if fault.elsewhere else node

    def _give_up(self, node: Node, call: _Call, fault: Fault) -> NoReturn:
        unsure = fault.acted and not call.repeatable and call.method not in READS
        call.forget()
        note_exchange(address=node.host, port=node.port, resends=call.resends)
        raise BackendUnavailableError(
            f"{node.name} {fault.what}" + ("; what was to be changed may have been changed" if unsure else ""),
            code=fault.code,
            hint="read it before trying again" if unsure else HINTS.get(fault.code, ""),
        ) from fault.cause

    def _wait_for_token(self, call: _Call) -> None:
        wait = self._bucket.take(call.end) if self._bucket is not None else 0.0
        if wait is None:
            call.forget()
            error = BackendUnavailableError(
                "our own rate limit leaves no request in time",
                code="rate_limited",
                hint="raise rate_limit, or ask less",
            )
            # It says nothing about the server.
            error.own_limit = True
            raise error
        if wait:
            self._sleep(wait)

    def _find_active(self, end: float) -> None:
        """Ask the active node first, if it is configured, and find the headers with which only it answers."""
        if len(self._nodes.configured) > 1:
            leader = str(self._ask("/v1/sys/leader", end).get("leader_address", "")).rstrip("/")
            for node in self._nodes.configured:
                if node.url == leader:
                    self._nodes.current = node
        health = {} if self._pinned else self._ask("/v1/sys/health", end)
        if health.get("enterprise"):
            self._pinned = {"X-Vault-Forward": "active-node"}
        elif isinstance(health.get("cluster_id"), str):
            self._pinned = beyond_all(str(health["cluster_id"]))
        # A sealed node, say, does not know its cluster: then the question comes again.
        self._seeking = not self._pinned

    def _ask(self, path: str, end: float) -> dict[str, object]:
        call = _Call("GET", path, {}, None, repeatable=True, end=end)
        call.longest = ASKING_SECONDS
        node = self._nodes.current
        outcome = self._once(node, call)
        while not isinstance(outcome, Reply):
            node = self._next(node, call, outcome)
            outcome = self._once(node, call)
        return outcome.body


def _warn(problem: str) -> None:
    import logging  # a process in which all goes well has no need of it

    logging.getLogger("strongroom.vault").warning(problem)
