"""Runs the server: signals, deadlines, and what systemd is told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from strongroom_agent.app import Agent, App
from strongroom_agent.ending import Ending
from strongroom_agent.log import LOG
from strongroom_agent.looks import ROTATIONS_EVERY
from strongroom_agent.notify import Notifier
from strongroom_agent.protocol import AgentProtocol
from strongroom_agent.sockets import BACKLOG, Listeners
from strongroom_agent.state import AgentState

GRACE_SECONDS: Final = 3
"""How long requests may take that are under way when the agent is told to stop; all else takes two more at most."""
ACCEPTED: Final = 64
"""How many connections are taken at a time: each is open until it has been looked at, also one that is refused."""
SWEEP_SECONDS: Final = 0.5
"""How often deadlines are looked at."""
FIRST_HEALTH_SECONDS: Final = 10.0
"""How long the first look at backends and sinks may keep the agent from saying that it is ready."""
_PROBE: Final = {"type": "http", "path": "/healthz", "raw_path": b"/healthz", "method": "GET"}


def serve(state: AgentState, listeners: Listeners, notifier: Notifier, ending: Ending) -> None:
    """Answer requests until a signal says to stop.

    Args:
        state: The agent.
        listeners: Where it listens.
        notifier: What tells systemd.
        ending: What is told that no request is under way any more.
    """

    async def run() -> None:
        try:
            await make(state, listeners, notifier).serve(sockets=listeners.sockets)
        finally:
            ending.begin()

    asyncio.run(run())


def make(state: AgentState, listeners: Listeners, notifier: Notifier) -> AgentServer:
    """Return the server.

    Args:
        state: The agent.
        listeners: Where it listens.
        notifier: What tells systemd.
    """
    app = Agent(state)
    config = uvicorn.Config(
        app,
        http=partial(AgentProtocol, state),  # type: ignore[arg-type]  # a function will do as well
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=ACCEPTED,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return AgentServer(config, state, app, notifier, where=", ".join(listeners.where))


class AgentServer(uvicorn.Server):
    """The server of one agent.

    Args:
        config: uvicorn's own settings.
        state: The agent.
        app: What answers.
        notifier: What tells systemd.
        where: Where it listens, for people.
    """

    def __init__(self, config: uvicorn.Config, state: AgentState, app: App, notifier: Notifier, *, where: str) -> None:
        super().__init__(config)
        self._state = state
        self._app = app
        self._notifier = notifier
        self._where = where
        self._end = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()
        state.tally.connections = lambda: len(self.server_state.connections)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have signals heard by the event loop, where it is in the main thread, and by nobody once that has ended."""
        loop = asyncio.get_running_loop()
        heard = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self._hang_up}
        if threading.current_thread() is not threading.main_thread():
            heard = {}
        # Not by the loop's own handlers: when it takes them back, for a moment a signal would end the process.
        for number, action in heard.items():
            signal.signal(number, partial(_pass_on, loop, action))
        try:
            yield
        finally:
            # What is being recorded from now on is recorded to its end, which comes soon in any case.
            for number in heard:
                signal.signal(number, signal.SIG_IGN)

    def stop(self) -> None:
        """End when the requests under way are answered; a second time, end without waiting for them."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._end.set()

    async def startup(self, sockets: Any = None) -> None:
        """Begin to answer, and say so when backends and sinks have been looked at."""
        await super().startup(sockets=sockets)
        for one in sockets:
            # asyncio has asked for as few to be kept waiting as are taken at a time.
            one.listen(BACKLOG)
        self._state.health.start()
        await self._first_health()
        if not self.should_exit:
            LOG.info("listening at %s", self._where)
            self._tell_ready()

    async def _first_health(self) -> None:
        end = time.monotonic() + FIRST_HEALTH_SECONDS
        # Without a thread that waits for it: this may be told to stop meanwhile.
        while not self._state.health.wait(0) and not self.should_exit:
            if time.monotonic() > end:
                LOG.warning("backends and audit sinks do not say how they are")
                return
            await asyncio.sleep(0.02)

    async def main_loop(self) -> None:
        """Look after connections until it is time to end."""
        keepers = [asyncio.create_task(self._sweep()), asyncio.create_task(self._look_at_rotations())]
        if self._notifier.watchdog_seconds is not None:
            keepers.append(asyncio.create_task(self._watch(self._notifier.watchdog_seconds / 3)))
        await self._end.wait()
        for keeper in keepers:
            keeper.cancel()

    async def shutdown(self, sockets: Any = None) -> None:
        """Answer what is under way, and close all connections."""
        LOG.info("stopping")
        self._notifier.stopping()
        self._state.stopping = True
        await super().shutdown(sockets=sockets)

    def _hang_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        self._notifier.reloading()
        await _in_a_daemon(self._state.reload)
        self._tell_ready()

    def _tell_ready(self) -> None:
        self._notifier.ready(f"listening at {self._where}")

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_SECONDS
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            self._state.tally.lag = max(0.0, now - due)
            for connection in list(self.server_state.connections):
                if isinstance(connection, AgentProtocol):
                    connection.expire(now)

    async def _look_at_rotations(self) -> None:
        """Have it found out which secrets are due, which the metrics tell: by a thread, again and again."""
        self._state.rotations.start()
        while True:
            self._state.rotations.latest()
            await asyncio.sleep(ROTATIONS_EVERY)

    async def _watch(self, every: float) -> None:
        """Tell systemd that all is well as long as a request is answered as it should be."""
        while True:
            if await self._answers():
                self._notifier.alive()
            await asyncio.sleep(every)

    async def _answers(self) -> bool:
        statuses = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await self._app({**_PROBE, "headers": [(b"host", b"localhost")], "extensions": {}}, receive, send)
        return statuses == [200]


async def _in_a_daemon(call: Callable[[], object]) -> None:
    """Have a thread call something that must not keep the process from ending, as the loop's own threads would."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            call()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="strongroom-agent-reload", daemon=True).start()
    await done.wait()


def _pass_on(loop: asyncio.AbstractEventLoop, action: Callable[[], None], *_: object) -> None:
    loop.call_soon_threadsafe(action)
