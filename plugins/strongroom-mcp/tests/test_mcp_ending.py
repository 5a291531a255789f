"""The process of the server ends when the client is gone, whatever hangs."""

from __future__ import annotations

import json
import subprocess
import sys

from pathlib import Path
from typing import Any

SERVER = """
import functools, sys, threading
import strongroom
import strongroom.aio.manager, strongroom.audit.stage
import strongroom_mcp.command
from strongroom.cli.main import main
from strongroom.testing import MemorySink

class Hanging(MemorySink):
    def write(self, request):
        threading.Event().wait()

strongroom.aio.manager.CLOSE_SECONDS = strongroom.audit.stage.CLOSE_SECONDS = 0.1
strongroom_mcp.command.END_SECONDS = 3.0
strongroom.open = functools.partial(strongroom.open, sinks=(Hanging(),))
sys.exit(main(["--config", sys.argv[1], "mcp"]))
"""
CONFIG = """
audit = "none"
[backends.memory]
type = "memory"
[mcp.actions.show]
description = "Does nothing."
command = ["/bin/true"]
"""


def test_an_audit_sink_that_hangs_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    config = tmp_path / "strongroom.toml"
    config.write_text(CONFIG + f"[mcp]\nkill_switch = {json.dumps(str(tmp_path / 'stopped'))}\n")
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "show", "arguments": {}}},
    ]
    said = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    # Its standard input ends with the last message: the client is gone.
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(config)], input=said, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "has not answered in time" in done.stderr
