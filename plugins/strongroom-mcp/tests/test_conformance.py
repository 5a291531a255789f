"""The command is offered as the core expects it."""

from __future__ import annotations

from strongroom.testing import PluginContract


class TestPlugin(PluginContract):
    module = "strongroom_mcp.plugin"
    heavy = ("mcp", "mcp_types", "httpx2", "anyio", "pydantic", "strongroom_mcp.command", "strongroom_mcp.declared")
