"""The tools as clients are told of them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import mcp_types as types

from mcp.server import Server

from strongroom_mcp import outputs, parameters
from strongroom_mcp.approving import Context
from strongroom_mcp.calls import Answer, Calls
from strongroom_mcp.declared import LIST
from strongroom_mcp.settings import ActionSettings, McpSettings

_INSTRUCTIONS = (
    "Each tool is an action that the operator has declared. Secrets are filled in by the server; no tool returns one, "
    "and [masked] stands where one would be. Do not try to get at a value, and do not ask the user for one."
)


def tools(settings: McpSettings) -> list[types.Tool]:
    """Return all tools.

    Args:
        settings: The server's settings.
    """
    listing = types.Tool(
        name=LIST,
        description="Lists the names of the secrets that each action uses, as far as they may be listed. No values.",
        input_schema=parameters.schema({}),
        annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )
    return [listing, *(_tool(name, one) for name, one in settings.actions.items())]


def _tool(name: str, settings: ActionSettings) -> types.Tool:
    return types.Tool(
        name=name,
        description=settings.description,
        input_schema=parameters.schema(settings.parameters),
        output_schema=outputs.schema(settings.output) if settings.output else None,
        annotations=types.ToolAnnotations(read_only_hint=settings.read_only),
    )


def serve(settings: McpSettings, calls: Calls) -> Server[dict[str, Any]]:
    """Return the server: it lists tools and calls them, and there is nothing else that it answers.

    Args:
        settings: The server's settings.
        calls: Runs what is called.
    """
    offered = types.ListToolsResult(tools=tools(settings))

    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return offered

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> Answer:
        return await calls.call(context, params)

    return Server(
        "strongroom",
        version=version("strongroom-mcp"),
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
