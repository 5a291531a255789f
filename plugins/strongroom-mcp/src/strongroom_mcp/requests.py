"""Actions that call a server: one host, one method, no redirect, and of the answer only what was asked for."""

from __future__ import annotations

import ssl

from collections.abc import Mapping
from typing import Final

import httpx2

from strongroom.masking import Masker
from strongroom.telemetry import quiet
from strongroom_mcp.collecting import Collected
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.held import Filling
from strongroom_mcp.parameters import Value
from strongroom_mcp.programs import Finished
from strongroom_mcp.settings import ActionSettings
from strongroom_mcp.targets import address, body, filled

_AGENT: Final = "strongroom-mcp"


async def call(
    settings: ActionSettings, values: Mapping[str, Value], filling: Filling, masker: Masker, limit: int
) -> Finished:
    """Send an action's request, and take in the answer.

    Args:
        settings: The action.
        values: The parameters.
        filling: Its secrets.
        masker: Masks them, and others, in the answer.
        limit: How many bytes of the answer to keep.

    Raises:
        RefusedError: There is no answer, or none that may be followed or read.
    """
    url = address(settings, values)
    content = body(settings, values, filling.text)
    headers = _headers(settings, filling, has_body=content is not None)
    try:
        with quiet():
            return await _exchange(settings, url, headers, content, Collected(masker, limit))
    except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
        problem = _problem(error)
    # Raised outside the handler: a cause would lead to the request and its headers.
    raise RefusedError(problem, result="no_answer")


def _headers(settings: ActionSettings, filling: Filling, *, has_body: bool) -> dict[str, str]:
    made = {"User-Agent": _AGENT, "Accept": "application/json, text/plain;q=0.9, */*;q=0.1"}
    made |= {"Accept-Encoding": "identity"} | ({"Content-Type": "application/json"} if has_body else {})
    secret = filled(settings.headers, filling.text)
    if any(not " " <= character <= "~" for text in secret.values() for character in text):
        raise RefusedError(
            "a secret that the action needs has a character in it that a header cannot hold", result="unusable_secret"
        )
    ours = {name: text for name, text in made.items() if name.lower() not in {own.lower() for own in secret}}
    return ours | secret


async def _exchange(
    settings: ActionSettings, url: str, headers: dict[str, str], content: bytes | None, answer: Collected
) -> Finished:
    context = ssl.create_default_context(cafile=settings.ca_file)
    # Nothing of the environment counts: a proxy there, or a file of passwords, is not the operator's word.
    async with (
        httpx2.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=settings.timeout) as client,
        client.stream(settings.method, url, headers=headers, content=content) as response,
    ):
        if 300 <= response.status_code < 400:
            raise RefusedError(
                f"the server answers with a redirect ({response.status_code}), which is not followed",
                result="unusable_answer",
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(
                "the server answers in a compressed form, in which nothing could be masked", result="unusable_answer"
            )
        async for chunk in response.aiter_raw():
            answer.feed(chunk)
            if answer.full:
                break
    said, text = f"HTTP status {response.status_code}", answer.text()
    return Finished(output=text, said=said, ok=response.is_success, is_cut=answer.full)


def _problem(error: Exception) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "the server did not answer in time"
    if isinstance(error, httpx2.ConnectError):
        return "the server could not be reached, or its certificate is not trusted"
    return "the server did not answer as a server should"
