"""The command ``strongroom mcp``."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time

from typing import TYPE_CHECKING, Final

from strongroom.contracts import CommandCall
from strongroom.errors import StrongroomError
from strongroom_mcp.settings import ActionSettings, McpSettings
from strongroom_mcp.switch import Switch, default_path

if TYPE_CHECKING:
    from strongroom import SecretManager

END_SECONDS: Final = 60.0
"""How long the end of the process may take, once what was under way has had its time to be recorded.

Twice what an orderly one takes at most: ten seconds each for leases and the audit trail, and five each for copies that
are kept for outages and for whoever is told of changes.
"""


def run(call: CommandCall) -> int:
    """Run one action of the command.

    Args:
        call: What was called.

    Returns:
        The exit status.

    Raises:
        StrongroomError: It could not be done.
    """
    actions = {"check": _check, "stop": _stop, "resume": _resume}
    return actions.get(call.options.action, _serve)(call)


def _settings(call: CommandCall) -> McpSettings:
    settings = call.settings()
    assert isinstance(settings, McpSettings), "the specification names this class"
    return settings


def _switch(settings: McpSettings) -> Switch:
    return Switch(settings.kill_switch or default_path())


def _serve(call: CommandCall) -> int:
    import anyio

    import strongroom

    from strongroom_mcp import log

    _forbid_core_dumps()
    settings = _settings(call)
    with log.opened(), strongroom.open(call.config) as manager:
        acting = manager.as_principal(call.principal) if call.principal is not None else manager
        try:
            anyio.run(_session, settings, acting)
        finally:
            threading.Thread(target=_end, name="strongroom-mcp-end", daemon=True).start()
    return 0


def _end() -> None:
    """End the process if it does not end by itself.

    The interpreter waits for its threads, and a backend or an audit sink that hangs may keep one for ever. The client
    is gone by then: nobody else would end it.
    """
    time.sleep(END_SECONDS)
    os._exit(1)


def _forbid_core_dumps() -> None:
    # What it starts inherits the limit, and a program that is given secrets leaves none of them on a disk either.
    # Where a program collects dumps, Linux asks it whatever the limit is, unless that is 1.
    limit = 1 if sys.platform == "linux" else 0
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


async def _session(settings: McpSettings, manager: SecretManager) -> None:
    import anyio

    from strongroom_mcp import stdio
    from strongroom_mcp.calls import Calls
    from strongroom_mcp.held import Held
    from strongroom_mcp.log import LOG
    from strongroom_mcp.tools import serve
    from strongroom_mcp.trail import Trail

    switch = _switch(settings)
    trail = Trail(manager, settings.principal)
    calls = Calls(settings, Held(manager), trail, switch)
    server = serve(settings, calls)
    if switch.stopped:
        LOG.warning("everything is stopped by %s: `strongroom mcp resume` lets actions run again", switch.path)
    async with trail.opened(), anyio.create_task_group() as group:
        group.start_soon(switch.watch, calls.end, trail.switched)
        group.start_soon(_until_told, group)
        async with stdio.opened() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _until_told(group: object) -> None:
    """End everything at a signal that asks for it."""
    import anyio

    assert isinstance(group, anyio.abc.TaskGroup), "it is started with its own group"
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            group.cancel_scope.cancel()


def _check(call: CommandCall) -> int:
    settings = _settings(call)
    if call.options.json:
        from strongroom_mcp.tools import tools

        told = [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in tools(settings)]
        sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        return 0
    for name, one in settings.actions.items():
        sys.stdout.write("\n".join(_described(settings, name, one)) + "\n")
    if not settings.actions:
        sys.stdout.write("no action is declared: add [mcp.actions.NAME]\n")
    if _switch(settings).stopped:
        sys.stdout.write("everything is stopped: `strongroom mcp resume` lets actions run again\n")
    return 0


def _described(settings: McpSettings, name: str, one: ActionSettings) -> list[str]:
    from strongroom_mcp.declared import principal_of, used
    from strongroom_mcp.parameters import schema

    described = schema(one.parameters)["properties"]
    takes = [f"  takes     {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in described.items()]
    does = " ".join(one.command) if one.command else f"{one.method} {one.url}"
    reads = ", ".join(str(reference.name) for reference in used(one)) or "nothing"
    answers = ", ".join(one.output) or f"text of at most {one.max_output} bytes"
    return [
        f"{name}: {one.description}",
        *takes,
        f"  does      {does}",
        f"  reads     {reads}, as {principal_of(settings, name)}",
        f"  answers   {answers}",
        f"  limits    {one.calls_per_minute} calls in a minute, {one.concurrency} at a time, {one.timeout:g} seconds",
        f"  approval  {one.approval}",
    ]


def _stop(call: CommandCall) -> int:
    try:
        switch = _switch(_settings(call))
    except StrongroomError:
        # A configuration that is wrong somewhere is no reason to let anything run.
        Switch(default_path()).stop()
        sys.stderr.write(f"stopped: {default_path()}, which is the kill switch unless the settings say another one\n")
        raise
    switch.stop()
    sys.stderr.write(f"stopped: no action runs as long as {switch.path} exists\n")
    return 0


def _resume(call: CommandCall) -> int:
    switch = _switch(_settings(call))
    switch.resume()
    sys.stderr.write("actions may run again\n")
    return 0
