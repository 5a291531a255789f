"""What the dashboard answers, and whom: the real application over real sockets."""

import http.client
import json

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboards import (
    HEAD,
    PLAIN_TOKEN,
    TOKEN,
    GivenToken,
    StandInManager,
    backend,
    event,
    journal,
    make_state,
    schedule,
    served,
    sink,
    wait_until,
)
from strongroom.contracts import TrailFinding, TrailReport
from strongroom.contracts.health import HealthState
from strongroom_agent.dashboard import COOKIE

ASKED = {"X-Strongroom-Request": "true"}
LOGGED_IN = {**ASKED, "Authorization": f"Bearer {TOKEN}"}


class Client:
    """Plain requests to the agent."""

    def __init__(self, address: str) -> None:
        self.host = address.removeprefix("http://")
        self.address = address

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] = LOGGED_IN
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        sent = dict(headers)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json else content, answer.headers

    def login(self, token: str = TOKEN) -> dict[str, str]:
        """Log in, and return the headers that go on with the session."""
        status, content, headers = self("POST", "/dashboard/login", {"token": token}, ASKED)
        assert status == 200, content
        cookie = headers["Set-Cookie"].partition(";")[0]
        return {**ASKED, "Cookie": cookie, "X-Strongroom-Key": content["key"]}


@pytest.fixture
def manager() -> StandInManager:
    now = datetime.now(UTC)
    events = [event(number, now - timedelta(seconds=number)) for number in range(200, 100, -1)]
    events += [
        event(201, now, source="backend", backend="vault", duration=0.02),
        event(202, now, source=None, result="denied", principal="<img src=x onerror=alert(1)>"),
        event(203, now, event="alert", result="blocked", rule="rate", detail="99 reads a minute", source=None),
        event(204, now, event="degraded", backend="vault", principal=None, key=None, result="timeout", detail="slow"),
        event(205, now, event="rotate", source=None, phase="attempt"),
        event(205, now, event="rotate", source=None, detail="by random"),
    ]
    made = StandInManager(events)
    made.schedules = [
        schedule("db/calm", "ok", every=timedelta(days=30), left=timedelta(days=20)),
        schedule("db/late", "overdue", every=timedelta(days=30), left=-timedelta(days=2)),
    ]
    made.parts = [backend("local"), backend("vault", HealthState.DOWN, breaker="degraded"), sink("jsonl")]
    made.journal = journal(waiting=2, set_aside=1, oldest=60.0)
    return made


@pytest.fixture
def state(manager: StandInManager) -> Any:
    made = make_state(manager)
    made.health.look()
    return made


@pytest.fixture
def client(state: Any) -> Iterator[Client]:
    with served(state) as address:
        yield Client(address)


def overview(client: Client, headers: dict[str, str] = LOGGED_IN, span: str = "1h") -> Any:
    """Return the overview, once all has been found out that is."""
    seen: Any = None

    def is_complete() -> bool:
        nonlocal seen
        status, seen, _ = client("GET", f"/dashboard/overview?span={span}", headers=headers)
        assert status == 200, seen
        return bool(seen["trail"]["read"] >= 106 and seen["trail"]["verifications"] and seen["rotation"]["at"])

    wait_until(is_complete)
    return seen


# ---- what is shown --------------------------------------------------------------------------------


def test_the_overview_has_the_figures_of_the_trail(client: Client) -> None:
    figures = overview(client)["figures"]
    assert figures["total"]["reads"] == 101
    assert figures["hit_rate"] == pytest.approx(100 / 101)
    assert figures["total"]["denied"] == 1
    busiest = figures["principals"][0]
    assert (busiest["principal"], busiest["operations"]) == ("web", 102)
    (latency,) = figures["latencies"]
    assert (latency["backend"], latency["reads"]) == ("vault", 1)
    assert latency["p99"] == pytest.approx(0.02, rel=0.2)
    assert len(figures["charts"]["reads"]) == len(figures["p99"]) == 60
    assert sum(figures["charts"]["hits"]) == 100


def test_the_overview_has_a_day_in_larger_slots(client: Client) -> None:
    figures = overview(client, span="24h")["figures"]
    assert figures["step"] == 1200
    assert sum(figures["charts"]["reads"]) == 101


def test_the_overview_has_cache_health_and_journal(client: Client) -> None:
    seen = overview(client)
    assert seen["cache"]["hits"] == 45802
    assert seen["health"]["state"] == "unhealthy"
    parts = {one["name"]: one for one in seen["health"]["parts"]}
    assert (parts["vault"]["state"], parts["vault"]["breaker"], parts["vault"]["reason"]) == (
        "down",
        "degraded",
        "slow",
    )
    assert parts["vault"]["since"] is not None
    assert (parts["jsonl"]["kind"], parts["jsonl"]["breaker"]) == ("audit", None)
    assert seen["health"]["journal"] == {"waiting": 2, "set_aside": 1, "oldest": 60.0}


def test_the_overview_has_rotations_with_the_most_urgent_first(client: Client) -> None:
    rotation = overview(client)["rotation"]
    assert [one["name"] for one in rotation["schedules"]] == ["db/late", "db/calm"]
    assert (rotation["overdue"], rotation["due"], rotation["total"]) == (1, 0, 2)
    assert [one["detail"] for one in rotation["made"]] == ["by random"]


def test_the_overview_has_alerts_with_their_reasons(client: Client) -> None:
    (alert,) = overview(client)["alerts"]
    assert (alert["rule"], alert["result"], alert["detail"]) == ("rate", "blocked", "99 reads a minute")


def test_the_overview_says_whether_the_trail_verifies(client: Client) -> None:
    trail = overview(client)["trail"]
    (verification,) = trail["verifications"]
    assert (verification["sink"], verification["state"], verification["events"]) == ("jsonl", "sealed", 106)
    assert (trail["sink"], trail["kept"], trail["problem"]) == ("jsonl", 106, "")


def test_a_trail_that_was_changed_is_told(client: Client, manager: StandInManager) -> None:
    finding = TrailFinding(kind="broken", place="audit.jsonl:7", detail="the line was changed")
    manager.trail.report = TrailReport(state="broken", events=9, files=("a",), head=HEAD, findings=(finding,))
    (verification,) = overview(client)["trail"]["verifications"]
    assert verification["state"] == "broken"
    assert verification["findings"] == [finding.as_dict()]


def test_events_are_searched(client: Client) -> None:
    overview(client)
    status, found, _ = client("POST", "/dashboard/search", {"result": "failed", "principal": "<IMG"})
    assert status == 200
    (row,) = found["rows"]
    assert (row["principal"], row["result"], row["name"]) == ("<img src=x onerror=alert(1)>", "denied", "db/password")
    assert found["total"] == 1


def test_events_come_in_pages(client: Client) -> None:
    overview(client)
    seen: list[int] = []
    upto, page = None, 1
    while rows := (found := client("POST", "/dashboard/search", {"page": page, "size": 60, "upto": upto})[1])["rows"]:
        seen += [row["number"] for row in rows]
        upto, page = found["upto"], page + 1
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == found["total"] == 106
    assert page == 3


def test_times_limit_a_search(client: Client) -> None:
    overview(client)
    edge = datetime.now(UTC).timestamp() - 90
    older = client("POST", "/dashboard/search", {"until": edge})[1]["total"]
    newer = client("POST", "/dashboard/search", {"since": edge})[1]["total"]
    assert older == 100
    assert newer == 6


# ---- who sees it ----------------------------------------------------------------------------------

DATA = [("GET", "/dashboard/overview", None), ("POST", "/dashboard/search", {}), ("POST", "/dashboard/logout", {})]


@pytest.mark.parametrize(("method", "path", "body"), DATA)
def test_a_stranger_sees_nothing(client: Client, method: str, path: str, body: Any) -> None:
    status, content, _ = client(method, path, body, ASKED)
    assert (status, content["error"]) == (401, "unauthorized")
    status, content, _ = client(method, path, body, {**ASKED, "Authorization": "Bearer wrong"})
    assert (status, content["error"]) == (401, "unauthorized")


@pytest.mark.parametrize(("method", "path", "body"), DATA)
def test_a_caller_without_the_dashboard_sees_nothing(client: Client, method: str, path: str, body: Any) -> None:
    status, content, _ = client(method, path, body, {**ASKED, "Authorization": f"Bearer {PLAIN_TOKEN}"})
    assert (status, content["error"]) == (403, "denied")


def test_the_page_itself_holds_nothing_and_is_for_everybody(client: Client) -> None:
    status, content, headers = client("GET", "/", headers={})
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"db/password" not in content


def test_with_a_session_the_dashboard_is_seen(client: Client) -> None:
    session = client.login()
    assert overview(client, session)["span"] == "1h"
    assert client("GET", "/dashboard/session", headers=session)[1] == {"caller": "operator"}


def test_the_cookie_without_the_key_of_the_page_is_worth_nothing(client: Client) -> None:
    """Cookies know no ports: whatever else listens on this host is sent it, too."""
    session = client.login()
    cookie_only = {**ASKED, "Cookie": session["Cookie"]}
    key_only = {**ASKED, "X-Strongroom-Key": session["X-Strongroom-Key"]}
    for headers in (cookie_only, key_only, {**cookie_only, "X-Strongroom-Key": "guessed"}):
        assert client("GET", "/dashboard/overview", headers=headers)[0] == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: Client) -> None:
    headers = client("POST", "/dashboard/login", {"token": TOKEN}, ASKED)[2]
    name, _, rest = headers["Set-Cookie"].partition("=")
    assert name == COOKIE
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert not any(part.startswith("domain") for part in attributes)


def test_a_token_that_is_wrong_or_not_for_the_dashboard_begins_no_session(client: Client) -> None:
    for token, status in (("wrong", 401), ("", 401), (PLAIN_TOKEN, 403), ("\ud800", 401)):
        found, content, headers = client("POST", "/dashboard/login", {"token": token}, ASKED)
        assert found == status
        assert "Set-Cookie" not in headers
        assert not token or token not in json.dumps(content)


def test_guesses_are_slowed_down(client: Client) -> None:
    statuses = [client("POST", "/dashboard/login", {"token": "wrong"}, ASKED)[0] for _ in range(400)]
    assert 429 in statuses
    # It is the strangers who wait.
    assert client("GET", "/dashboard/session")[0] == 200


def test_after_logging_out_the_session_is_gone(client: Client) -> None:
    session, other = client.login(), client.login()
    status, _, headers = client("POST", "/dashboard/logout", {}, session)
    assert status == 200
    assert headers["Set-Cookie"].startswith(f'{COOKIE}="";')
    assert client("GET", "/dashboard/overview", headers=session)[0] == 401
    assert client("GET", "/dashboard/overview", headers=other)[0] == 200


def removed(callers: dict[str, Any]) -> None:
    del callers["operator"]


def without_the_right(callers: dict[str, Any]) -> None:
    callers["operator"] = callers["operator"].replace(dashboard=False)


def with_another_token(callers: dict[str, Any]) -> None:
    callers["operator"] = callers["operator"].replace(token=GivenToken(TOKEN[::-1]))


@pytest.mark.parametrize("change", [removed, without_the_right, with_another_token])
def test_a_session_ends_with_what_it_began_by(client: Client, state: Any, change: Any) -> None:
    session = client.login()
    callers = state.settings.callers
    former = dict(callers)
    state.reload()
    assert client("GET", "/dashboard/overview", headers=session)[0] == 200
    change(callers)
    state.reload()
    assert client("GET", "/dashboard/overview", headers=session)[0] == 401
    assert client("GET", "/dashboard/session", headers=session)[1] == {"caller": None}
    # It does not come back either.
    callers.update(former)
    state.reload()
    assert client("GET", "/dashboard/overview", headers=session)[0] == 401


def test_where_the_dashboard_is_switched_off_there_is_none(manager: StandInManager) -> None:
    with served(make_state(manager, dashboard=False)) as address:
        for path in ("/", "/static/dashboard.js", "/dashboard/overview", "/dashboard/session"):
            assert Client(address)("GET", path)[0] == 404


# ---- other sites ----------------------------------------------------------------------------------

EVERYTHING = [*DATA, ("POST", "/dashboard/login", {"token": TOKEN}), ("GET", "/dashboard/session", None)]


@pytest.mark.parametrize(("method", "path", "body"), EVERYTHING)
@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"X-Strongroom-Request": ""},
        {"X-Strongroom-Request": "1"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
    ids=str,
)
def test_what_another_site_has_sent_is_refused(
    client: Client, method: str, path: str, body: Any, foreign: dict[str, str]
) -> None:
    status, content, headers = client(method, path, body, {**LOGGED_IN, **foreign})
    assert status in {400, 403, 421}
    assert set(content) == {"error", "message", "hint"}
    assert "Set-Cookie" not in headers


def test_the_pages_own_requests_are_answered(client: Client) -> None:
    own = {"Origin": client.address, "Sec-Fetch-Site": "same-origin"}
    assert client("GET", "/dashboard/overview", headers={**LOGGED_IN, **own})[0] == 200


def test_no_other_origin_may_read_an_answer(client: Client) -> None:
    status, _, headers = client("OPTIONS", "/dashboard/overview", headers={"Access-Control-Request-Method": "GET"})
    assert status == 405
    assert not [name for name in headers if name.lower().startswith("access-control")]


# ---- requests that are no good ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        {"principal": 1},
        {"name": "x" * 2000},
        {"name": ["a"]},
        {"name": "db/pass*"},
        {"page": 0},
        {"page": True},
        {"page": "1"},
        {"page": 10**30},
        {"size": 201},
        {"since": "yesterday"},
        {"since": 10**400},
        {"since": 1e300},
        {"upto": []},
        [],
        "text",
        None,
    ],
    ids=lambda content: str(content)[:30],
)
def test_a_search_that_is_malformed_is_refused(client: Client, content: Any) -> None:
    status, told, _ = client("POST", "/dashboard/search", json.dumps(content).encode())
    assert status == 400
    assert set(told) == {"error", "message", "hint"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 10_000, b'{"since": NaN}', b'{"since": Infinity}'])
def test_what_is_no_json_is_refused(client: Client, body: bytes) -> None:
    assert client("POST", "/dashboard/search", body)[0] == 400


def test_a_form_of_another_page_is_no_request(client: Client) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""):
        assert client("POST", "/dashboard/search", {}, {**LOGGED_IN, "Content-Type": kind})[0] == 415


def test_a_request_that_is_too_large_is_refused(client: Client) -> None:
    assert client("POST", "/dashboard/search", {"name": "x" * 20_000})[0] == 413


@pytest.mark.parametrize("span", ["", "2h", "1h%00", "../1h"])
def test_a_span_that_is_none_is_refused(client: Client, span: str) -> None:
    assert client("GET", f"/dashboard/overview?span={span}")[0] == 400


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/dashboard/search"), ("DELETE", "/dashboard/overview"), ("PUT", "/")]
)
def test_other_methods_are_refused(client: Client, method: str, path: str) -> None:
    assert client(method, path)[0] == 405


# ---- headers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/static/dashboard.css", {}, 200),
        ("GET", "/static/dashboard.js", {}, 200),
        ("GET", "/static/session.js", {}, 200),
        ("GET", "/favicon.ico", {}, 204),
        ("GET", "/dashboard/overview", LOGGED_IN, 200),
        ("GET", "/dashboard/overview", ASKED, 401),
        ("GET", "/dashboard/overview", {}, 403),
    ],
)
def test_each_answer_tells_the_browser_to_be_strict(
    client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    found, _, told = client(method, path, headers=headers)
    assert found == status
    policy = {part.split()[0]: part.split()[1:] for part in told["Content-Security-Policy"].split(";")}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["font-src"] == ["'none'"]
    for directive in ("script-src", "style-src", "connect-src", "img-src", "form-action"):
        assert policy[directive] == ["'self'"]
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == "no-referrer"
    assert told["Cross-Origin-Opener-Policy"] == told["Cross-Origin-Resource-Policy"] == "same-origin"


def test_data_is_kept_nowhere(client: Client) -> None:
    for path in ("/dashboard/overview", "/dashboard/session"):
        assert client("GET", path)[2]["Cache-Control"] == "no-store"


def test_text_that_is_no_unicode_is_answered(client: Client, manager: StandInManager) -> None:
    """What somebody has asked for is recorded, and may be anything."""
    manager.trail.events.append(event(300, datetime.now(UTC), key="\ud800", result="invalid_name"))
    wait_until(lambda: client("POST", "/dashboard/search", {"result": "invalid_name"})[1]["total"] == 1)
    assert client("POST", "/dashboard/search", {"name": "\ud800"})[1]["rows"][0]["name"] == "\ud800"
