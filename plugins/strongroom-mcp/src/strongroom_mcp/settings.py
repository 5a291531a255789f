"""The table ``[mcp]``."""

from __future__ import annotations

from typing import Literal

from strongroom.contracts import FilePath, Record, Seconds, Size


class ParameterSettings(Record):
    """One parameter of an action: ``[mcp.actions.ACTION.parameters.NAME]``."""

    type: Literal["string", "integer", "boolean"] = "string"
    """What it is."""
    description: str = ""
    """What the model is told about it."""
    pattern: str | None = None
    """A regular expression that the whole of a text must match."""
    choices: tuple[str, ...] = ()
    """The only texts that it may be."""
    max_length: int = 200
    """How many characters a text may have."""
    leading_dash: bool = False
    """Whether an argument may begin with ``-``, as options do."""
    lines: bool = False
    """Whether a text may have several lines."""
    minimum: int | None = None
    """The least that a whole number may be."""
    maximum: int | None = None
    """The most that a whole number may be."""
    flag: str | None = None
    """What stands in the command if a truth value is true; nothing does if it is false."""
    default: str | int | bool | None = None
    """What it is if the model does not say; without one, the model has to."""

    def problems(self) -> list[str]:
        """Return what is wrong with the parameter."""
        from strongroom_mcp.parameters import problems

        return problems(self)


class ActionSettings(Record):
    """One action that the model may run: ``[mcp.actions.NAME]``."""

    description: str
    """What the model is told that it does."""
    command: tuple[str, ...] = ()
    """The program, by its absolute path, and its arguments; one that is ``{NAME}`` is that parameter."""
    environment: dict[str, str] = {}  # noqa: RUF012  # a default, which nobody changes
    """Variables for the program; ``strongroom://NAME`` in them is filled in."""
    files: dict[str, str] = {}  # noqa: RUF012  # as above
    """Variables that hold the path of a file in memory with what ``strongroom://NAME`` refers to; Linux only."""
    pass_environment: tuple[str, ...] = ()
    """Variables of the server that the program gets, too."""
    folder: FilePath = "/"
    """Where the program runs."""
    url: str | None = None
    """What is called, in place of a command: ``https://``; a part of the path that is ``{NAME}`` is that parameter."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """How it is called."""
    query: dict[str, str] = {}  # noqa: RUF012  # as above
    """What follows the path; a value that is ``{NAME}`` is that parameter."""
    headers: dict[str, str] = {}  # noqa: RUF012  # as above
    """Headers of the request; ``strongroom://NAME`` in them is filled in."""
    body: str | None = None
    """JSON to be sent; a text in it that is ``"{NAME}"`` is that parameter, and ``strongroom://NAME`` is filled in."""
    ca_file: FilePath | None = None
    """Whose certificates are trusted, if not those that the machine trusts."""
    http_on_loopback: bool = False
    """Whether ``url`` may be an ``http://`` address of this machine."""
    parameters: dict[str, ParameterSettings] = {}  # noqa: RUF012  # as above
    """What the model may choose, by name."""
    output: dict[str, Literal["string", "integer", "number", "boolean"]] = {}  # noqa: RUF012  # as above
    """The members of a JSON answer that the model gets, such as ``"items[].name"``; all of the text unless given."""
    max_output: Size = 16384
    """How much of the output the model gets."""
    timeout: Seconds = 30.0
    """How long it may run."""
    calls_per_minute: int = 30
    """How often it may be called."""
    concurrency: int = 4
    """How often it may run at a time."""
    approval: Literal["none", "ask", "command"] = "none"
    """Who approves each call: nobody, the person at the client, or the program in ``approve``."""
    read_only: bool = False
    """What clients are told: that it changes nothing."""
    principal: str | None = None
    """As whom it reads secrets; the server's principal, a slash and the action's name unless given."""

    def problems(self) -> list[str]:
        """Return what is wrong with the action."""
        from strongroom_mcp.declared import problems

        return problems(self)


class McpSettings(Record):
    """Settings of the server."""

    principal: str = "assistant"
    """As whom it acts; the action ``deploy`` reads as ``assistant/deploy``."""
    actions: dict[str, ActionSettings] = {}  # noqa: RUF012  # a default, which nobody changes
    """What the model may run, by the name of its tool."""
    approve: tuple[str, ...] = ()
    """A program that approves calls by exiting with 0, and its arguments; it reads the call as JSON."""
    approval_timeout: Seconds = 120.0
    """How long an approval may take; after that the call is refused."""
    kill_switch: FilePath | None = None
    """A file that stops everything as long as it exists; `~/.local/state/strongroom/mcp.stopped` unless given."""

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        from strongroom_mcp.declared import server_problems

        return server_problems(self)
