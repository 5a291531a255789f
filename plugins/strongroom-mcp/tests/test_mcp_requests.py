"""Actions that call a server: where the request goes, what is in it, and what of the answer comes back."""

from __future__ import annotations

import base64
import gzip
import json
import socket

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpsites import PLAIN, SECRETS, Seen, action, site, text_of, web, web_action
from strongroom_mcp.settings import ParameterSettings

VALUE = str(SECRETS["db/plain"])
WORD = {"word": ParameterSettings()}


@pytest.fixture
def seen() -> Iterator[Seen]:
    with web() as server:
        yield server


def test_the_token_goes_to_the_server_and_not_to_the_model(tmp_path: Path, seen: Seen) -> None:
    seen.body = lambda headers, _: f"you sent {headers['Authorization']}".encode()
    with site(tmp_path, look=web_action(seen, "/look")) as one:
        assert one.text("look") == "HTTP status 200\nyou sent Bearer [masked]"
    [(method, path, headers, _)] = seen.requests
    assert (method, path, headers["Authorization"]) == ("GET", "/look", f"Bearer {VALUE}")


def test_a_parameter_is_one_part_of_the_path_and_one_value_of_the_query(tmp_path: Path, seen: Seen) -> None:
    settings = web_action(seen, "/a/{word}/z", query={"q": "{word}", "fixed": "1"}, parameters=WORD)
    with site(tmp_path, look=settings) as one:
        one.call("look", {"word": "x/y?z=1&b#c%41 é"})
    encoded = "x%2Fy%3Fz%3D1%26b%23c%2541%20%C3%A9"
    assert seen.requests[0][1] == f"/a/{encoded}/z?q={encoded}&fixed=1"


@pytest.mark.parametrize(
    "word",
    [
        "..",
        ".",
        "../x",
        "x/../../y",
        "..\\x",
        "%2e%2e",
        "%252e%252e%252fx",
        "..;x",
        "x/%2e./y",
        "",
        "\uff0e\uff0e",
        "\u2025\uff0fx",
    ],
)
def test_a_parameter_leads_to_no_other_folder(tmp_path: Path, seen: Seen, word: str) -> None:
    with site(tmp_path, look=web_action(seen, "/a/{word}", parameters=WORD)) as one:
        result = one.call("look", {"word": word})
    assert (result.is_error, text_of(result)) == (True, "word cannot be a part of a path")
    assert seen.requests == []


@pytest.mark.parametrize("word", ["a\r\nX-Other: 1", "a\nb", "a\0b", "\x85", "\u2028", "\ud800"])
def test_a_parameter_has_no_ends_of_lines(tmp_path: Path, seen: Seen, word: str) -> None:
    with site(tmp_path, look=web_action(seen, "/a", query={"q": "{word}"}, parameters=WORD)) as one:
        assert one.text("look", {"word": word}) == "word has a character in it that it may not have"
    assert seen.requests == []


def test_the_body_is_filled_in_without_being_read_again(tmp_path: Path, seen: Seen) -> None:
    body = json.dumps({"text": "{word}", "n": "{count}", "key": PLAIN, "list": [f"<${{{PLAIN}}}>"], "{word}": 1})
    parameters = WORD | {"count": ParameterSettings(type="integer")}
    word = f'"}}, "key": "${{{PLAIN}}}'
    with site(tmp_path, send=web_action(seen, "/", method="POST", body=body, parameters=parameters)) as one:
        one.call("send", {"word": word, "count": 3})
    [(method, _, headers, content)] = seen.requests
    assert (method, headers["Content-Type"]) == ("POST", "application/json")
    assert json.loads(content) == {"text": word, "n": 3, "key": VALUE, "list": [f"<{VALUE}>"], "{word}": 1}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_where_it_leads_is_not_told(tmp_path: Path, seen: Seen, status: int) -> None:
    with web() as other:
        seen.status = status
        seen.headers = {"Location": f"{other.address}/?t={VALUE}"}
        seen.body = f"go to {other.address}".encode()
        with site(tmp_path, look=web_action(seen, "/")) as one:
            result = one.call("look")
        assert (result.is_error, text_of(result)) == (
            True,
            f"the server answers with a redirect ({status}), which is not followed",
        )
        assert other.requests == []


def test_headers_of_the_answer_are_not_returned(tmp_path: Path, seen: Seen) -> None:
    seen.headers = {"X-Echo": base64.b64encode(VALUE.encode()).decode(), "Set-Cookie": f"a={VALUE}"}
    with site(tmp_path, look=web_action(seen, "/")) as one:
        assert one.text("look") == "HTTP status 200\n{}"
        one.call("look")
    assert "Cookie" not in seen.requests[1][2]


def test_a_compressed_answer_is_refused(tmp_path: Path, seen: Seen) -> None:
    seen.headers = {"Content-Encoding": "gzip"}
    seen.body = gzip.compress(VALUE.encode())
    with site(tmp_path, look=web_action(seen, "/")) as one:
        assert one.text("look") == "the server answers in a compressed form, in which nothing could be masked"


def test_only_declared_members_come_back(tmp_path: Path, seen: Seen) -> None:
    seen.answers(
        {"id": 7, "secret": "x", "user": {"login": "ann", "email": "y"}, "items": [{"name": VALUE, "z": 1}, {}]}
    )
    form = {"id": "integer", "user.login": "string", "items[].name": "string", "gone": "string"}
    with site(tmp_path, look=web_action(seen, "/", output=form)) as one:
        result = one.call("look")
    assert result.structured_content == {"id": 7, "user": {"login": "ann"}, "items": [{"name": "[masked]"}, {}]}
    assert json.loads(text_of(result)) == result.structured_content


@pytest.mark.parametrize(("written", "shown"), [("1234567.8e1", False), ("12345678", False), ("2345678", True)])
def test_a_number_is_no_way_around_masking(tmp_path: Path, seen: Seen, written: str, *, shown: bool) -> None:
    seen.body = f'{{"id": {written}}}'.encode()
    headers = {"X-Pin": "${strongroom://db/pin}"}
    with site(tmp_path, look=web_action(seen, "/", headers=headers, output={"id": "number"})) as one:
        result = one.call("look")
    assert result.is_error != shown
    assert "1234567" not in text_of(result)


@pytest.mark.parametrize("content", [b'{"id": "7"}', b'{"id": true}', b"[]", b"no", b'{"id": [7]}', b"[" * 100_000])
def test_an_answer_of_another_form_is_dropped(tmp_path: Path, seen: Seen, content: bytes) -> None:
    seen.body = content
    with site(tmp_path, look=web_action(seen, "/", output={"id": "integer"})) as one:
        result = one.call("look")
    assert (result.is_error, text_of(result)) == (True, "the answer is not of the form that is declared for it")


def test_a_failure_of_the_server_is_told_without_its_members(tmp_path: Path, seen: Seen) -> None:
    seen.status = 403
    seen.answers({"message": f"no such token {VALUE}"})
    actions = {"look": web_action(seen, "/", output={"id": "integer"}), "raw": web_action(seen, "/")}
    with site(tmp_path, **actions) as one:
        assert one.text("look") == "the action failed: HTTP status 403"
        result = one.call("raw")
    assert (result.is_error, text_of(result)) == (True, 'HTTP status 403\n{"message": "no such token [masked]"}')


def test_a_huge_answer_is_cut_and_a_huge_document_dropped(tmp_path: Path, seen: Seen) -> None:
    seen.answers({"text": "x" * 3_000_000})
    actions = {
        "raw": web_action(seen, "/", max_output=50),
        "form": web_action(seen, "/", output={"text": "string"}),
    }
    with site(tmp_path, **actions) as one:
        assert one.text("raw") == f'HTTP status 200\n{{"text": "{"x" * 40}\n[cut]'
        assert one.text("form") == "the answer is not of the form that is declared for it"


def test_a_proxy_or_password_of_the_environment_is_not_used(
    tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        monkeypatch.setenv("ALL_PROXY", proxy.address)
        (tmp_path / ".netrc").write_text("default login me password mine")
        monkeypatch.setenv("HOME", str(tmp_path))
        with site(tmp_path, look=web_action(seen, "/", headers={})) as one:
            one.call("look")
        assert proxy.requests == []
    assert "Authorization" not in seen.requests[0][2]


def test_a_server_that_is_not_there_tells_no_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    look = action(url=f"http://127.0.0.1:{port}/", http_on_loopback=True)
    with site(tmp_path, look=look) as one:
        assert one.text("look") == "the server could not be reached, or its certificate is not trusted"


def test_a_server_without_a_certificate_is_sent_nothing(tmp_path: Path, seen: Seen) -> None:
    settings = action(url=seen.address.replace("http://", "https://") + "/", headers={"X-Token": PLAIN})
    with site(tmp_path, look=settings) as one:
        assert one.text("look") == "the server could not be reached, or its certificate is not trusted"
    assert seen.requests == []


def test_a_server_that_hangs_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        look = action(url=f"http://127.0.0.1:{silent.getsockname()[1]}/", http_on_loopback=True, timeout=0.3)
        with site(tmp_path, look=look) as one:
            result = one.call("look")
    assert result.is_error


def test_a_value_that_no_header_can_hold_is_not_sent(tmp_path: Path, seen: Seen) -> None:
    with site(tmp_path, look=web_action(seen, "/", headers={"X-Token": "strongroom://db/token"})) as one:
        assert one.text("look") == "a secret that the action needs has a character in it that a header cannot hold"
    assert seen.requests == []
