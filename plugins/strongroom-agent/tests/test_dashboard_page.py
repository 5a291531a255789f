"""The dashboard's page in a real browser, over a trail of ten thousand events."""

import re

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from browser import Browser, launched
from dashboards import TOKEN, StandInManager, backend, event, journal, make_state, schedule, served, sink
from strongroom.contracts.health import HealthState

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVENTS = 10_000
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
NEEDLES = 7


def events() -> list[Any]:
    """Return the events of a day, oldest first."""
    random, now = Random(7), datetime.now(UTC)
    times = sorted(random.random() ** 2 * 86_000 for _ in range(EVENTS - 5))
    made = []
    for number, seconds in enumerate(reversed(times)):
        fields: dict[str, Any] = {"principal": random.choice(["web", "worker", "billing"])}
        if number % 1500 == 100:
            fields |= {"key": "needle/in/the/haystack", "source": "backend", "duration": 0.015}
        elif number % 50 == 3:
            fields |= {"result": "denied", "source": None, "rule": "policy line 3"}
        made.append(event(number, now - timedelta(seconds=seconds + 60), **fields))
    hostile = {"key": HOSTILE, "principal": HOSTILE, "detail": HOSTILE, "source": None}
    made += [
        event(EVENTS, now, event="get", result="invalid_name", **hostile),
        event(EVENTS, now, event="alert", result="blocked", rule="rate", **hostile),
        event(EVENTS, now, event="alert", result="alert", rule="enumeration", detail="forty names; usual are three"),
        event(EVENTS, now, event="degraded", backend="vault", principal=None, key=None, detail="no answer in 5 s"),
        event(EVENTS, now, event="rotate", source=None, key="mail/smtp", detail="by random"),
    ]
    return made


@pytest.fixture
def state() -> Any:
    manager = StandInManager(events())
    days = timedelta(days=1)
    manager.schedules = [
        schedule("db/calm", "ok", every=30 * days, left=20 * days),
        schedule("db/late", "overdue", every=30 * days, left=-3 * days),
        schedule("db/today", "due", every=7 * days, left=-days / 24),
    ]
    manager.parts = [backend("local"), backend("vault", HealthState.DOWN, breaker="degraded"), sink("jsonl")]
    manager.journal = journal(waiting=4, set_aside=1, oldest=700.0)
    made = make_state(manager)
    made.health.look()
    return made


@pytest.fixture
def address(state: Any) -> Iterator[str]:
    with served(state) as found:
        yield found


@pytest.fixture
def browser(address: str) -> Iterator[Browser]:
    """A browser that is fine at the end: no error, no violation of the policy, nothing asked of anybody else."""
    with launched(address) as started:
        yield started
        assert started.complaints == []
        assert started.strayed == []
        assert started.requests


def logged_in(browser: Browser, address: str, **options: Any) -> "Page":
    """Return the page once it shows all there is."""
    page = browser.page(**options)
    page.goto(f"{address}/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    has_all(page)
    return page


def has_all(page: "Page") -> None:
    from playwright.sync_api import expect

    expect(page.locator("#found")).to_have_text(f"1 to 50 of {EVENTS:,} events", timeout=40_000)
    expect(page.locator("#verifications")).to_contain_text("sealed", timeout=40_000)
    expect(page.locator("#rotations-note")).to_contain_text("3 secrets", timeout=40_000)


def table(page: "Page", caption: str) -> Any:
    return page.get_by_role("table", name=caption)


def test_the_page_shows_how_things_are(browser: Browser, address: str, tmp_path: Path) -> None:
    page = logged_in(browser, address)
    page.get_by_label("24 hours").check()
    page.wait_for_function("document.querySelector('#reads-note').textContent.includes('24 hours')")
    tiles = page.locator("#tiles").inner_text()
    assert re.search(r"Cache hit rate\s+99\.9\d? %", tiles)
    assert re.search(r"Backend p99\s+1[45] ms\s+local", tiles)
    assert re.search(r"Denied\s+200\s", tiles)
    assert re.search(r"Rotations overdue\s+1\s+1 due, 0 left unfinished, of 3", tiles)
    assert re.search(r"Journal\s+4\s+waiting, 1 set aside", tiles)
    assert re.search(r"Audit trail\s+sealed", tiles)
    assert "Unhealthy" in page.locator("#overall").inner_text()
    parts = table(page, "How each backend and audit sink is").inner_text()
    assert re.search(r"vault\s+backend\s+▲\s*down\s+◆\s*degraded\s+\S+ \S+\s+no answer in 5 s", parts)
    alerts = table(page, "Alerts of the detectors, newest first").inner_text()
    assert "forty names; usual are three" in alerts
    principals = table(page, "Operations of each principal, most first").inner_text()
    assert {"web", "worker", "billing"} <= set(re.findall(r"\w+", principals))
    page.screenshot(path=tmp_path / "light.png", full_page=True)


def test_what_is_overdue_says_so_in_red_and_in_words(browser: Browser, address: str) -> None:
    page = logged_in(browser, address)
    first = table(page, "When secrets are rotated, the most urgent first").get_by_role("row").nth(1)
    assert re.search(r"db/late\s+▲\s*overdue by 3 d", first.inner_text())
    red, green, blue = (
        int(part) for part in re.findall(r"\d+", first.locator("th").evaluate("one => getComputedStyle(one).color"))
    )
    assert red > 2 * max(green, blue)
    assert first.get_by_role("img", name="past its end").count() == 1


def test_ten_thousand_events_are_searched_and_paged(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = logged_in(browser, address)
    found = table(page, "Audit events that were found, newest first")
    page.get_by_label("Name or pattern").fill("needle/**")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#found")).to_have_text(f"1 to {NEEDLES} of {NEEDLES} events")
    assert found.get_by_role("row").count() == NEEDLES + 1
    assert "backend, local" in found.inner_text()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#found")).to_have_text(f"1 to 50 of {EVENTS:,} events")
    page.get_by_label("Result").select_option("denied")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#found")).to_have_text("1 to 50 of 200 events")
    page.get_by_role("button", name="Older").click()
    expect(page.locator("#found")).to_have_text("51 to 100 of 200 events")
    page.get_by_role("button", name="Newer").click()
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()
    page.get_by_label("Name or pattern").fill("no*pattern")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#search-problem")).to_contain_text("wildcard")
    # The browser says of each answer that is an error that it was one.
    assert browser.complaints.pop().startswith(
        "error: Failed to load resource: the server responded with a status of 400"
    )


def test_times_of_a_search_are_utc_wherever_the_reader_is(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = logged_in(browser, address, timezone_id="America/New_York")
    shown = table(page, "Audit events that were found, newest first").get_by_role("row").nth(30).locator("time")
    iso = shown.get_attribute("datetime") or ""
    assert shown.inner_text() == iso[:19].replace("T", " ")
    page.get_by_label("From (UTC)").fill(iso[:16])
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#found")).not_to_contain_text(f"{EVENTS:,}")
    oldest = datetime.fromisoformat(iso[:16]).replace(tzinfo=UTC)
    times = page.locator("#events time").evaluate_all("all => all.map(one => one.dateTime)")
    assert times
    assert all(datetime.fromisoformat(time) >= oldest for time in times)


def test_a_name_that_is_markup_is_shown_as_text(browser: Browser, address: str) -> None:
    page = logged_in(browser, address)
    for caption in ("Audit events that were found, newest first", "Alerts of the detectors, newest first"):
        assert table(page, caption).get_by_role("rowheader", name=HOSTILE, exact=True).count() >= 1
    assert table(page, "Operations of each principal, most first").get_by_text(HOSTILE, exact=True).count() == 1
    assert page.locator("img").count() == 0
    assert page.title() == "strongroom"


def test_dark_is_as_the_system_says_or_as_was_chosen(browser: Browser, address: str, tmp_path: Path) -> None:
    def background(page: "Page") -> int:
        colour = page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    page = logged_in(browser, address, color_scheme="dark")
    page.screenshot(path=tmp_path / "dark.png", full_page=True)
    dark = background(page)
    page.get_by_label("Colours").select_option("light")
    light = background(page)
    assert dark < 150 < 600 < light
    page.reload()
    assert background(page) == light
    page.get_by_label("Colours").select_option("")
    assert background(page) == dark
    page.emulate_media(color_scheme="light")
    assert background(page) == light
    page.get_by_label("Colours").select_option("dark")
    assert background(page) == dark


def test_on_a_narrow_screen_nothing_sticks_out(browser: Browser, address: str, tmp_path: Path) -> None:
    page = logged_in(browser, address, viewport={"width": 375, "height": 800})
    page.screenshot(path=tmp_path / "narrow.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_everything_is_done_with_the_keyboard_alone(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = browser.page()
    page.goto(f"{address}/")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    has_all(page)
    expect(page.locator("main")).to_be_focused()
    names: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, is_seen = page.evaluate(
            """() => {
              const one = document.activeElement;
              const label = one.labels && one.labels.length ? one.labels[0].textContent : "";
              const by = document.getElementById(one.getAttribute("aria-labelledby"));
              const box = (one.type === "radio" ? one.nextElementSibling : one);
              const style = getComputedStyle(box);
              return [(label || (by && by.textContent) || one.textContent || one.tagName).trim(),
                one === document.body || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2)];
            }"""
        )
        assert is_seen, f"it cannot be seen that {name!r} has the focus"
        names.append(name)
        if name == "Skip to the content":
            break
    walked = ["Rotations that were made", "Principal", "Name or pattern", "Result", "Search", "Clear", "Older"]
    places = [names.index(name) for name in walked]
    assert places == sorted(places)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Token")).to_be_focused()


def test_every_control_table_and_chart_has_a_name(browser: Browser, address: str) -> None:
    page = logged_in(browser, address)
    for role in ("button", "textbox", "combobox", "radio", "table", "region", "img", "navigation", "search"):
        found = page.get_by_role(role)  # type: ignore[arg-type]  # each is a role
        named = page.get_by_role(role, name=re.compile(r"\w"))  # type: ignore[arg-type]  # each is a role
        assert found.count() == named.count() > 0, role
    assert page.locator("table").count() == page.locator("table > caption").count()
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.locator("tbody th:not([scope=row])").count() == 0
    assert page.locator("[role=status][aria-live=polite]").count() == 1
    headings = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => one.tagName)")
    assert headings[0] == "H1"
    assert set(headings[1:]) == {"H2"}


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 375, "height": 800}}],
    ids=["light", "dark", "narrow"],
)
def test_axe_finds_nothing(browser: Browser, address: str, options: dict[str, Any]) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        # It checks what a screen reader gets, and brings a bundle of JavaScript of its own.
        pytest.skip("needs axe-core: pip install axe-playwright-python")

    def violations(page: "Page") -> list[str]:
        found = Axe().run(page).response["violations"]
        return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]

    # The checker is put into the page, which its policy forbids.
    page = browser.page(bypass_csp=True, **options)
    page.goto(f"{address}/")
    assert violations(page) == []
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    has_all(page)
    page.get_by_text("Rotations that were made", exact=True).click()
    assert violations(page) == []


def test_nothing_moves_for_those_who_want_that(browser: Browser, address: str) -> None:
    page = logged_in(browser, address, reduced_motion="reduce")
    durations = page.locator("*").evaluate_all("all => all.map(one => getComputedStyle(one).transitionDuration)")
    assert set(durations) == {"0s"}


def test_a_token_that_is_wrong_is_told_and_not_kept(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = browser.page()
    page.goto(f"{address}/")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert").first).to_contain_text("not the token of a caller")
    expect(page.get_by_label("Token")).to_have_value("")
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.locator("#board")).to_be_hidden()
    assert "status of 401" in browser.complaints.pop()


def test_a_second_tab_and_a_reload_go_on_with_the_session(browser: Browser, address: str) -> None:
    page = logged_in(browser, address)
    page.reload()
    has_all(page)
    other = page.context.new_page()
    other.goto(f"{address}/")
    has_all(other)


def test_who_logs_out_leaves_nothing_behind(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = logged_in(browser, address)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    left = page.content()
    for name in ("db/late", "worker", "needle", "forty names"):
        assert name not in left
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.getItem('strongroom.key')") is None


def test_an_answer_that_comes_after_logging_out_is_not_shown(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = logged_in(browser, address)
    held: list[Any] = []
    page.route("**/dashboard/search", lambda route: held.append((route, route.fetch())))
    page.get_by_label("Name or pattern").fill("needle/**")
    page.get_by_role("button", name="Search").click()
    while not held:
        page.wait_for_timeout(10)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    route, answer = held.pop()
    with page.expect_response("**/dashboard/search") as told:
        route.fulfill(response=answer)
    told.value.finished()
    page.wait_for_function("() => new Promise((done) => setTimeout(() => done(true), 0))")
    assert "needle" not in page.content()
    assert page.locator("#found").text_content() == "Nothing has been searched for yet."


def test_when_the_session_ends_the_page_says_so(browser: Browser, address: str, state: Any) -> None:
    from playwright.sync_api import expect

    page = logged_in(browser, address)
    state.settings.callers["operator"] = state.settings.callers["operator"].replace(dashboard=False)
    state.reload()
    expect(page.locator("#login-problem")).to_have_text("The session has ended.", timeout=20_000)
    assert "db/late" not in page.content()
    assert "status of 401" in browser.complaints.pop()


def test_when_the_agent_is_gone_the_page_says_so_until_it_is_back(browser: Browser, address: str) -> None:
    from playwright.sync_api import expect

    page = logged_in(browser, address)
    expect(page.locator("#connection")).to_be_hidden()
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Connection lost", timeout=20_000)
    expect(page.get_by_role("status")).to_contain_text("What is shown is old")
    assert "db/late" in page.locator("#rotations").inner_text()
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden(timeout=40_000)
    expect(page.get_by_role("status")).to_contain_text("The connection is back")
    assert browser.complaints
    browser.complaints[:] = [one for one in browser.complaints if "ERR_INTERNET_DISCONNECTED" not in one]


def test_a_page_that_nobody_sees_asks_seldom(browser: Browser, address: str) -> None:
    page = browser.page()
    page.clock.install()
    page.goto(f"{address}/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#events time")

    def asked_within(seconds: int) -> int:
        before = len([url for url in browser.requests if "overview" in url])
        for _ in range(seconds):
            page.clock.run_for(1000)
            page.wait_for_timeout(10)
        return len([url for url in browser.requests if "overview" in url]) - before

    assert asked_within(60) >= 8
    page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    assert asked_within(60) <= 2
