"""The command is offered as the core expects it."""

from __future__ import annotations

from strongroom.testing import PluginContract


class TestPlugin(PluginContract):
    module = "strongroom_agent.plugin"
    heavy = ("uvicorn", "starlette", "httptools", "prometheus_client", "opentelemetry", "strongroom_agent.command")
