"""The files of the dashboard's page: which there are, what they may hold, and how a browser comes by them."""

import http.client
import re

from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import urljoin

import pytest

from dashboards import StandInManager, make_state, served

Answer = tuple[int, str, http.client.HTTPMessage]
Client = Callable[..., Answer]

LOADS = re.compile(r"""(?:src|href)="(/[^"]+)"|\b(?:from|import)\s+"([^"]+)";""")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Asks for a path as a stranger does, which need be nobody to get the page."""
    with served(make_state(StandInManager([]))) as address:

        def ask(path: str, **headers: Any) -> Answer:
            connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
            connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            content = answer.read().decode()
            connection.close()
            return answer.status, content, answer.headers

        yield ask


def loaded(client: Client) -> dict[str, tuple[str, http.client.HTTPMessage]]:
    """Return what a browser loads that opens the page: the content and headers of each file, by its path."""
    found: dict[str, tuple[str, http.client.HTTPMessage]] = {}
    left = ["/"]
    while left:
        path = left.pop()
        status, content, headers = client(path)
        assert status == 200, path
        found[path] = (content, headers)
        wanted = {urljoin(path, one or other) for one, other in LOADS.findall(found[path][0])}
        left += sorted(wanted - found.keys() - set(left))
    return found


def test_the_page_loads_every_file_that_is_there_and_no_other(client: Client) -> None:
    names = {path.name for path in files("strongroom_agent").joinpath("static").iterdir()}
    assert set(loaded(client)) == {"/"} | {f"/static/{name}" for name in names - {"index.html"}}
    assert {"dashboard.css", "dashboard.js", "session.js"} <= names


def test_each_file_is_told_apart_by_its_kind_and_asked_for_anew_by_a_reload(client: Client) -> None:
    kinds = {"": "text/html", "css": "text/css", "js": "text/javascript"}
    answers = loaded(client)
    for path, (_, told) in answers.items():
        assert told["Content-Type"] == f"{kinds[path.rpartition('.')[2].strip('/')]}; charset=utf-8"
        assert told["Cache-Control"] == "no-cache"
        assert client(path, If_None_Match=f'"other", {told["ETag"]}')[0] == 304
    assert len({told["ETag"] for _, told in answers.values()}) == len(answers)


def test_a_page_that_is_open_loads_no_code_later(client: Client) -> None:
    """The agent may be replaced by another version meanwhile, whose modules do not fit those that are there."""
    for content, _ in loaded(client).values():
        assert re.search(r"\bimport\s*\(", content) is None


def test_a_file_that_has_not_changed_is_not_sent_again(client: Client) -> None:
    _, content, headers = client("/static/dashboard.js")
    assert content
    status, nothing, _ = client("/static/dashboard.js", If_None_Match=headers["ETag"])
    assert (status, nothing) == (304, "")
    assert client("/static/dashboard.js", If_None_Match='"other"')[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/index.html", "/static/../state.py", "/static/%2e%2e/state.py", "/static/x.py", "/dashboard/"],
)
def test_no_other_file_is_served(client: Client, path: str) -> None:
    assert client(path)[0] == 404


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(client: Client) -> None:
    page = client("/")[1]
    for forbidden in ("<style", "style=", "javascript:", "http://", "https://", "onclick", "onload", "@import"):
        assert forbidden not in page
    assert page.count("<script") == 1
    script = "".join(content for path, (content, _) in loaded(client).items() if path.endswith(".js"))
    # Names may hold anything, so nothing is ever read as markup or as code.
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "https://",
    ):
        assert forbidden not in script
