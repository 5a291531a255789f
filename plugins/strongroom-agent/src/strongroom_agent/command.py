"""The command ``strongroom agent``."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import threading

from typing import TYPE_CHECKING, Final

from strongroom.contracts import CommandCall
from strongroom.errors import StrongroomError
from strongroom_agent.settings import AgentSettings

if TYPE_CHECKING:
    from strongroom_agent.state import Loaded

NOT_READY: Final = 6
"""What ``check`` exits with if the agent is not ready, as for any outage."""
_SPARE_FILES: Final = 640
"""How many files the agent opens beside its connections, at most, with connections that are about to be refused."""


def run(call: CommandCall) -> int:
    """Run one action.

    Args:
        call: What was called.

    Returns:
        The exit status.

    Raises:
        StrongroomError: It could not be done.
    """
    actions = {"token": _token, "check": _check, "units": _units}
    return actions.get(call.options.action, _serve)(call)


def _serve(call: CommandCall) -> int:
    # Imported before anything of strongroom measures: from here on there is somebody to measure for.
    import opentelemetry.metrics  # noqa: F401  # see above

    from strongroom_agent import log, serving
    from strongroom_agent.ending import Ending
    from strongroom_agent.notify import Notifier
    from strongroom_agent.sockets import listen
    from strongroom_agent.state import AgentState

    log.start()
    # A reload that is asked for before there is anything to reload would end the process.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, lambda *_: None)
    _forbid_core_dumps()
    settings = _settings(call)
    # Before anything is opened: where another agent runs already, nothing is recorded or leased.
    listeners = listen(settings)
    try:
        _raise_file_limit(settings.max_connections)
        state = AgentState(lambda: _load(call))
        if not state.callers:
            log.LOG.warning("no caller is configured, so nobody can read a secret: add [agent.callers.NAME]")
        _tidy()
        ending = Ending()
        try:
            serving.serve(state, listeners, Notifier(), ending)
        finally:
            state.close()
            ending.closed()
    finally:
        listeners.close()
    return 0


def _load(call: CommandCall) -> Loaded:
    import strongroom

    from strongroom_agent.state import Loaded

    settings = _settings(call)
    return Loaded(settings=settings, manager=strongroom.open(call.config), principal=call.principal)


def _settings(call: CommandCall) -> AgentSettings:
    settings = call.settings()
    assert isinstance(settings, AgentSettings), "the specification names this class"
    return settings


def _forbid_core_dumps() -> None:
    # Where a program collects dumps, Linux asks it whatever the limit is, unless that is 1.
    limit = 1 if sys.platform == "linux" else 0
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def _raise_file_limit(connections: int) -> None:
    from strongroom_agent.log import LOG

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < connections + _SPARE_FILES:
        LOG.warning("only %d files may be open: lower max_connections, or raise LimitNOFILE", wanted)


def _tidy() -> None:
    """Undo what makes a command that ends at once quick, and keep what lives for ever out of the way."""
    gc.set_threshold(2_000, 20, 50)
    gc.collect()
    gc.freeze()


def _token(call: CommandCall) -> int:
    from strongroom_agent import tokens

    name = call.options.caller
    tokens.check_name(name)
    known = None
    if call.options.output is None:
        # A configuration that is wrong elsewhere, or not there yet, is no reason not to make a token.
        with contextlib.suppress(StrongroomError):
            known = _settings(call).callers.get(name)
    source = known.token if known is not None else None
    path = call.options.output or (source.path if source is not None else None) or f"{name}.token"
    tokens.make(os.path.abspath(path), replace=call.options.replace)
    tokens.advise(os.path.abspath(path), name, known=source is not None)
    return 0


def _check(call: CommandCall) -> int:
    from strongroom_agent.asking import ask

    try:
        status, body = ask(_settings(call), "/healthz" if call.options.live else "/readyz")
    except OSError as error:
        sys.stderr.write(f"strongroom agent: it does not answer: {error.strerror or error}\n")
        return NOT_READY
    sys.stdout.write(body.rstrip("\n") + "\n")
    return 0 if status == 200 else NOT_READY


def _units(call: CommandCall) -> int:
    from strongroom_agent.units import write

    return write(call.config, call.options.folder, call.options.user)
