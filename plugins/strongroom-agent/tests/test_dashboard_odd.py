"""The dashboard's page in a real browser where things are not as they should be: odd texts, no trail, a wrong clock."""

import re

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from browser import Browser, launched
from dashboards import HEAD, TOKEN, StandInManager, backend, event, make_state, schedule, served
from strongroom.contracts import TrailFinding, TrailReport
from strongroom.contracts.health import HealthState
from strongroom.errors import AuditError
from strongroom_agent.rows import LONGEST

if TYPE_CHECKING:
    from playwright.sync_api import Page

TURNED = "\u202etxt.nimda\u202c\u2066"
ODD = (
    "<script>document.title='owned'</script>",
    TURNED,
    "a\x00b\x1b[31mc\r\n\u200bd\ud800",
    "long" + "ab\u00e9" * 3400,
    "w " * 5000,
)


@pytest.fixture
def opened() -> Iterator[Callable[[StandInManager], tuple[Browser, str]]]:
    """Serves a dashboard, and returns a browser and its address; at the end nothing may have been complained of."""
    with ExitStack() as stack:
        browsers = []

        def open_one(manager: StandInManager) -> tuple[Browser, str]:
            state = make_state(manager)
            state.health.look()
            address = stack.enter_context(served(state))
            browsers.append(stack.enter_context(launched(address)))
            return browsers[-1], address

        yield open_one
        for one in browsers:
            assert one.complaints == []
            assert one.strayed == []


def logged_in(page: "Page", address: str) -> "Page":
    from playwright.sync_api import expect

    page.goto(f"{address}/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#verifications .badge").first).to_be_visible(timeout=40_000)
    return page


def with_odd_texts() -> StandInManager:
    now = datetime.now(UTC)
    manager = StandInManager([])
    for number, text in enumerate(ODD):
        texts = dict.fromkeys(("key", "principal", "detail", "rule", "on_behalf_of", "host"), text)
        for fields in (
            {"event": "alert", "result": text},
            {"event": "rotate"},
            {"event": text, "result": text, "source": text, "backend": text},
            {"source": "backend", "backend": text, "duration": 3.0 + number},
        ):
            manager.trail.events.append(event(number, now, **{**texts, "source": None, **fields}))
        calm = schedule("db/calm", "ok", every=timedelta(days=30), left=timedelta(days=20))
        manager.schedules.append(calm.replace(name=text, rule=text, by=text, problem=text))
        manager.parts.append(backend(text, HealthState.DOWN, breaker="degraded", reason=text))
    findings = tuple(TrailFinding(kind=text, place=text, detail=text) for text in ODD)
    manager.trail.report = TrailReport(state="broken", events=9, files=("a",), head=HEAD, findings=findings)
    return manager


@pytest.mark.parametrize("width", [1440, 375])
def test_odd_texts_are_shown_as_text_and_break_no_layout(opened: Any, width: int) -> None:
    from playwright.sync_api import expect

    browser, address = opened(with_odd_texts())
    page = logged_in(browser.page(viewport={"width": width, "height": 800}), address)
    expect(page.locator("#rotations-note")).to_contain_text("5 secrets", timeout=40_000)
    page.locator("#made-details summary").click()
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#found")).to_contain_text("1 to 20 of 20")
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size[0] == width
    assert size[1] < 9000
    rows = page.evaluate("[...document.querySelectorAll('tbody tr')].map((one) => one.offsetHeight)")
    assert max(rows) < 200
    assert page.title() == "strongroom"
    shown = page.locator("body").inner_text()
    # What turns the text around it, or cannot be seen, is spelt out.
    assert re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b]", shown) is None
    assert r"\u{202e}txt.nimda\u{202c}\u{2066}" in shown
    assert r"a\u{0}b\u{1b}[31mc\u{d}\u{a}\u{200b}d\u{d800}" in shown
    assert ODD[0] in shown
    longest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('td, th, li')].map((one) => one.innerText.length))"
    )
    assert longest < 4 * LONGEST


def test_a_trail_that_cannot_be_read_does_not_look_like_peace(opened: Any) -> None:
    from playwright.sync_api import expect

    manager = StandInManager([])
    manager.trail.error = manager.trail.report = AuditError("the audit trail cannot be read: no permission")
    browser, address = opened(manager)
    page = logged_in(browser.page(), address)
    expect(page.locator("#tiles")).to_contain_text("cannot be read")
    tiles = page.locator("#tiles").inner_text()
    for label in ("Cache hit rate", "Backend p99", "Denied", "Failed", "Alerts"):
        assert re.search(rf"{label}\s+\u2013\s+the trail cannot be read", tiles)
    assert re.search(r"Audit trail\s+unknown\s+not verified", tiles)
    for part in ("#alerts", "#principals", "#latencies"):
        assert page.locator(part).inner_text() == "Nothing is known: the trail cannot be read."
    assert "no permission" in page.locator("#verifications").inner_text()


def test_times_are_told_by_the_clock_of_the_agent(opened: Any) -> None:
    from playwright.sync_api import expect

    manager = StandInManager([event(1, datetime.now(UTC))])
    manager.schedules = [schedule("db/late", "overdue", every=timedelta(days=30), left=-timedelta(days=3, hours=1))]
    browser, address = opened(manager)
    page = browser.page()
    page.add_init_script("const now = Date.now; Date.now = () => now() - 20 * 86400 * 1000;")
    logged_in(page, address)
    expect(page.locator("#rotations")).to_contain_text("overdue by 3 d", timeout=20_000)
    assert re.search(r"verified \d+ s ago", page.locator("#verifications").inner_text())


def test_a_browser_that_keeps_nothing_shows_the_dashboard_as_long_as_the_page_is_open(opened: Any) -> None:
    from playwright.sync_api import expect

    browser, address = opened(StandInManager([event(1, datetime.now(UTC))]))
    page = browser.page()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    logged_in(page, address)
    page.get_by_label("Colours").select_option("dark")
    page.get_by_label("24 hours").check()
    expect(page.locator("#reads-note")).to_contain_text("1 reads in the last 24 hours")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#found")).to_contain_text("1 to 1 of 1")
    page.reload()
    expect(page.get_by_label("Token")).to_be_focused()


def test_who_logs_in_anew_on_one_page_stays_so_on_all(opened: Any) -> None:
    """A page that is asked for its key after another one has got a new one must not take that away."""
    from playwright.sync_api import expect

    browser, address = opened(StandInManager([event(1, datetime.now(UTC))]))
    first = logged_in(browser.page(), address)
    second = first.context.new_page()
    second.goto(f"{address}/")
    expect(second.locator("#found")).to_contain_text("events")
    second.get_by_role("button", name="Log out").click()
    logged_in(second, address)
    first.get_by_label("24 hours").check()
    expect(first.locator("#reads-note")).to_contain_text("24 hours")
    expect(first.locator("#login")).to_be_hidden()
    second.reload()
    expect(second.locator("#found")).to_contain_text("events")


def test_alerts_of_the_past_are_no_news(opened: Any) -> None:
    from playwright.sync_api import expect

    manager = StandInManager([event(n, datetime.now(UTC) - timedelta(hours=1), event="alert") for n in range(3)])
    browser, address = opened(manager)
    page = logged_in(browser.page(), address)
    heard: list[str] = []
    page.expose_function("heard", lambda text: heard.append(text))
    page.evaluate(
        "new MutationObserver(() => heard(document.querySelector('#news').textContent))"
        ".observe(document.querySelector('#news'), { childList: true, characterData: true, subtree: true })"
    )
    expect(page.locator("#trail-note")).to_have_text(re.compile("^The newest"), timeout=20_000)
    page.wait_for_timeout(5500)
    assert not [one for one in heard if "New alert" in one]
    manager.trail.events.append(event(9, datetime.now(UTC), event="alert", detail=TURNED))
    expect(page.locator("#news")).to_contain_text("New alert", timeout=20_000)
    assert r"\u{202e}txt" in page.locator("#news").inner_text()
