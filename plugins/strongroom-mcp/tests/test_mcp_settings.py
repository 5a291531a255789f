"""What cannot be declared is refused before anything is served."""

from __future__ import annotations

from typing import Any

import pytest

from mcpsites import TOKEN, action
from strongroom_mcp.declared import used
from strongroom_mcp.outputs import problems as output_problems
from strongroom_mcp.outputs import schema
from strongroom_mcp.settings import ActionSettings, McpSettings, ParameterSettings

ECHO = ("/bin/echo",)
API = "https://api.example.com/"
WORD = {"word": ParameterSettings()}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "an action has either a command or a url"),
    ({"command": ECHO, "url": API}, "an action has either a command or a url"),
    ({"command": ("echo",)}, "command begins with a program by its absolute path"),
    ({"command": (*ECHO, TOKEN)}, "command holds a secret"),
    ({"command": (*ECHO, f"--token=${{{TOKEN}}}")}, "command holds a secret"),
    ({"command": (*ECHO, "--word={word}"), "parameters": WORD}, "a parameter is a whole argument"),
    ({"command": ("/bin/sh", "-c", "{word}"), "parameters": WORD}, "an interpreter run what the model writes"),
    ({"command": ("/bin/sh", "{word}"), "parameters": WORD}, "runs a program that the model chooses"),
    ({"command": ("/usr/bin/env", "{word}"), "parameters": WORD}, "runs a program that the model chooses"),
    ({"url": "https://api.example.com/strongroom://db/token"}, "url holds a secret"),
    ({"command": ("/bin/bash", "-lc", "{word}"), "parameters": WORD}, "an interpreter run what the model writes"),
    ({"command": ("/usr/bin/env", "python3.11", "-I", "-c", "{word}"), "parameters": WORD}, "an interpreter run what"),
    ({"command": ("/usr/bin/psql", "-c", "{word}"), "parameters": WORD}, "an interpreter run what"),
    ({"command": (*ECHO, "{word}")}, "{word} is no parameter of it"),
    ({"command": ECHO, "parameters": WORD}, "the parameter word is not used"),
    ({"command": ("{word}",), "parameters": WORD}, "command begins with a program by its absolute path"),
    ({"command": (*ECHO, "{on}"), "parameters": {"on": ParameterSettings(type="boolean")}}, "on needs a flag"),
    ({"command": ECHO, "environment": {"A=B": "x"}}, "'A=B' cannot be a variable"),
    ({"command": ECHO, "environment": {"A": "x"}, "pass_environment": ("A",)}, "A is said twice"),
    ({"command": ECHO, "environment": {"A": "see strongroom://db/token"}}, "a reference within other text"),
    ({"command": ECHO, "environment": {"A": "${strongroom://db/token"}}, "a reference has no end"),
    ({"command": ECHO, "files": {"A": "x"}}, "files refers to something that is not just strongroom://NAME"),
    ({"command": ECHO, "pass_environment": ("STRONGROOM_MASTER_KEY",)}, "what may open a store"),
    ({"command": ECHO, "headers": {"A": "x"}}, "headers is not for this kind of action"),
    ({"url": API, "environment": {"A": "x"}}, "environment is not for this kind of action"),
    ({"url": "http://api.example.com/"}, "url is not https://"),
    ({"url": "http://api.example.com/", "http_on_loopback": True}, "url is not https://"),
    ({"url": "http://127.0.0.1/"}, "url is not https://"),
    ({"url": "ftp://api.example.com/"}, "url is not https://"),
    ({"url": "https://user:word@api.example.com/"}, "more than a host"),
    ({"url": "https://{word}.example.com/", "parameters": WORD}, "more than a host"),
    ({"url": "https:///x"}, "url names no host"),
    ({"url": "https://api.example.com:99999/"}, "url is not an address"),
    ({"url": f"{API}?a=b"}, "url has a query or a fragment"),
    ({"url": f"{API}../x"}, "a part of the url's path"),
    ({"url": f"{API}x{{word}}", "parameters": WORD}, "a part of the url's path"),
    ({"url": f"{API}a b"}, "a part of the url's path"),
    ({"url": API, "query": {"t": TOKEN}}, "query holds a secret"),
    ({"url": API, "headers": {"X": "{word}"}, "parameters": WORD}, "headers have a parameter in them"),
    ({"url": API, "headers": {"X": "a\r\nY: b"}}, "the header X has a character in it"),
    ({"url": API, "headers": {"Host": "other.example.com"}}, "'Host' cannot be a header of its own"),
    ({"url": API, "headers": {"X Y": "a"}}, "'X Y' cannot be a header of its own"),
    ({"url": API, "method": "POST", "body": "{"}, "body is not JSON"),
    ({"url": API, "body": "{}"}, "a GET has no body"),
    ({"command": ECHO, "timeout": 0.0}, "timeout must be more than 0"),
    ({"command": ECHO, "max_output": 0}, "max_output must be more than 0"),
    ({"command": ECHO, "principal": ""}, "principal is empty"),
    ({"command": ECHO, "output": {"a b": "string"}}, "which is no path of members"),
]


@pytest.mark.parametrize(("settings", "problem"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_an_action_that_could_do_harm_is_refused(settings: dict[str, Any], problem: str) -> None:
    found = ActionSettings(description="Does something.", **settings).problems()
    assert problem in "\n".join(found)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"pattern": "("}, "pattern is not a regular expression"),
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"type": "integer", "pattern": "x"}, "pattern, choices and lines are for texts"),
        ({"minimum": 1}, "minimum and maximum are for whole numbers"),
        ({"flag": "-x"}, "flag is for truth values"),
        ({"default": "no", "choices": ("yes",)}, "default is not one of its choices"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(settings: dict[str, Any], problem: str) -> None:
    assert ParameterSettings(**settings).problems() == [problem]


@pytest.mark.parametrize("name", ["list_secrets", "", "Deploy", "a b", "x" * 65, "../x", "-x"])
def test_a_name_that_a_tool_cannot_have_is_refused(name: str) -> None:
    [problem] = McpSettings(actions={name: action(command=ECHO)}).problems()
    assert "cannot be the name of an action" in problem


def test_an_approval_that_nobody_can_give_is_refused() -> None:
    wanting = {"show": action(command=ECHO, approval="command")}
    assert McpSettings(actions=wanting).problems() == [
        "an action wants the approval of a program, and approve names none"
    ]
    assert McpSettings(actions=wanting, approve=("ask",)).problems() == [
        "approve begins with a program by its absolute path"
    ]
    assert McpSettings(principal="", approval_timeout=0.0).problems() == [
        "principal is empty",
        "approval_timeout must be more than 0",
    ]


def test_an_action_knows_each_secret_that_it_uses_once() -> None:
    body = '{"a": "strongroom://d", "b": ["${strongroom://e}${strongroom://d}"]}'
    one = action(url=API, method="POST", body=body, headers={"X": "Bearer ${strongroom://e}"})
    assert [str(reference) for reference in used(one)] == ["strongroom://e", "strongroom://d"]


def test_the_form_of_an_answer_is_told_as_a_schema() -> None:
    assert schema({"id": "integer", "items[].name": "string"}) == {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "additionalProperties": False,
                },
            },
        },
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "form", [{"a": "string", "a.b": "string"}, {"a[]": "string", "a": "string"}, {"a[]": "string", "a[].b": "string"}]
)
def test_a_member_that_would_be_two_things_is_refused(form: dict[str, str]) -> None:
    assert output_problems(form) == ["output says of one member that it is two things"]
