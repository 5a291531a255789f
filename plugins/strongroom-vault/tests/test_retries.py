"""One owner of retries: how often, how long between, and what is never sent twice."""

from __future__ import annotations

import contextlib
import random

from collections.abc import Callable
from typing import Any

import pytest

from fakes import FakeVault
from strongroom.errors import BackendUnavailableError
from strongroom.pacing import within
from strongroom_vault.target import Target
from strongroom_vault.transport import Transport
from waits import Waits

SEALED = {"errors": ["Vault is sealed"]}
LIMITED = {"errors": ['request path "secret/data/x": rate limit quota exceeded']}


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def transport(vault: FakeVault, waits: Waits) -> Callable[..., Transport]:
    def make(**options: Any) -> Transport:
        return Transport(Target(addresses=(vault.address,), **options), clock=waits.clock.monotonic, sleep=waits.sleep)

    return make


def get(transport: Transport, **options: Any) -> Any:
    return transport.send("GET", "/v1/secret/data/x", headers={}, repeatable=True, **options)


def put(transport: Transport) -> Any:
    return transport.send("POST", "/v1/secret/data/x", headers={}, body=b"{}")


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (503, SEALED, "sealed"),
        (503, b"Service Unavailable", "server_error"),
        (500, {"errors": ["internal error"]}, "server_error"),
        (502, b"<html>", "server_error"),
        (412, {"errors": ["required index state not present"]}, "unavailable"),
        (429, LIMITED, "rate_limited"),
    ],
)
def test_an_outage_costs_exactly_so_many_requests(
    vault: FakeVault, transport: Any, waits: Waits, attempts: int, status: int, body: Any, code: str
) -> None:
    vault.answer("GET", "/", status, body)
    sender = transport(attempts=attempts)
    with pytest.raises(BackendUnavailableError) as raised:
        get(sender)
    assert raised.value.code == code
    assert len(vault.requests) == attempts
    assert (sender.requests, sender.retries) == (attempts, attempts - 1)
    assert len(waits.waited) == attempts - 1


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 501])
def test_a_refusal_is_an_answer_and_asked_for_once(vault: FakeVault, transport: Any, status: int) -> None:
    vault.answer("GET", "/", status, {"errors": ["no"]})
    assert get(transport()).status == status
    assert len(vault.requests) == 1


@pytest.mark.parametrize("path", ["/v1/sys/health", "/v1/sys/health?standbyok=true", "/v1/sys/seal-status"])
@pytest.mark.parametrize("status", [429, 472, 473, 500, 501, 503])
def test_the_state_of_a_server_is_an_answer_whatever_its_status(
    vault: FakeVault, transport: Any, path: str, status: int
) -> None:
    vault.answer("GET", "/v1/sys/", status, {"sealed": True})
    assert transport().send("GET", path, headers={}, repeatable=True).status == status
    assert len(vault.requests) == 1


def test_an_answer_that_comes_at_last_is_the_answer(vault: FakeVault, transport: Any) -> None:
    vault.answer("GET", "/", 200, {"data": {"a": 1}})
    vault.answer("GET", "/", 503, SEALED, times=1)
    vault.answer("GET", "/", reset=True, times=1)
    assert get(transport()).data == {"a": 1}
    assert len(vault.requests) == 3


def test_delays_grow_and_have_jitter(vault: FakeVault, transport: Any, waits: Waits) -> None:
    vault.answer("GET", "/", 503, SEALED)
    for _ in range(20):
        with pytest.raises(BackendUnavailableError):
            get(transport(attempts=5))
    runs = [waits.waited[start : start + 4] for start in range(0, 80, 4)]
    assert all(first < second < third < fourth for first, second, third, fourth in runs)
    assert len({run[0] for run in runs}) == 20


@pytest.mark.parametrize("status", [429, 503, 412])
def test_the_delay_that_the_server_asks_for_is_kept(
    vault: FakeVault, transport: Any, waits: Waits, status: int
) -> None:
    vault.answer("GET", "/", 200, {})
    vault.answer("GET", "/", status, LIMITED, {"Retry-After": "7"}, times=1)
    assert get(transport()).status == 200
    assert waits.waited == [7.0]


def test_a_delay_beyond_the_deadline_is_not_begun(vault: FakeVault, transport: Any, waits: Waits) -> None:
    vault.answer("GET", "/", 429, LIMITED, {"Retry-After": "61"})
    with pytest.raises(BackendUnavailableError) as raised:
        get(transport(timeout=60.0))
    assert raised.value.code == "rate_limited"
    assert waits.waited == []
    assert len(vault.requests) == 1


def test_a_server_that_asks_for_no_wait_is_not_asked_again_at_once(
    vault: FakeVault, transport: Any, waits: Waits
) -> None:
    vault.answer("GET", "/", 429, LIMITED, {"Retry-After": "0"})
    with pytest.raises(BackendUnavailableError):
        get(transport(attempts=5))
    assert len(waits.waited) == 4
    assert all(seconds > 0.1 for seconds in waits.waited)


def test_the_time_that_the_operation_has_left_ends_the_attempts(vault: FakeVault, transport: Any, waits: Waits) -> None:
    vault.answer("GET", "/", 503, SEALED, {"Retry-After": "4"})
    start = waits.clock.monotonic()
    with within(10.0), pytest.raises(BackendUnavailableError):
        get(transport(attempts=100), timeout=60.0)
    assert len(vault.requests) == 3
    assert waits.clock.monotonic() - start <= 10.0


def test_the_time_limit_of_the_settings_counts_where_it_is_shorter(
    vault: FakeVault, transport: Any, waits: Waits
) -> None:
    vault.answer("GET", "/", 503, SEALED, {"Retry-After": "4"})
    with within(1000.0), pytest.raises(BackendUnavailableError):
        get(transport(attempts=100), timeout=10.0)
    assert len(vault.requests) == 3


def test_the_deadline_ends_the_attempts(vault: FakeVault, transport: Any, waits: Waits) -> None:
    vault.answer("GET", "/", 503, SEALED, {"Retry-After": "4"})
    start = waits.clock.monotonic()
    with pytest.raises(BackendUnavailableError):
        get(transport(attempts=100), timeout=10.0)
    assert len(vault.requests) == 3
    assert waits.clock.monotonic() - start <= 10.0


@pytest.mark.parametrize(
    ("status", "body"), [(503, SEALED), (429, LIMITED), (412, {"errors": []}), (500, {"errors": [
        "local node not active but active cluster node not found"]})]
)  # fmt: skip
def test_a_write_that_was_not_acted_on_is_sent_again(vault: FakeVault, transport: Any, status: int, body: Any) -> None:
    vault.answer("POST", "/", 204)
    vault.answer("POST", "/", status, body, times=2)
    assert put(transport()).status == 204
    assert len(vault.requests) == 3
    assert {sent.body for sent in vault.requests} == {b"{}"}


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"reset": True}, "unavailable"),
        ({"status": 200, "body": {"data": {}}, "cut": 3}, "unavailable"),
        ({"status": 500, "body": {"errors": ["internal error"]}}, "server_error"),
        ({"status": 504}, "server_error"),
        ({"status": 503, "body": b"upstream"}, "server_error"),
    ],
)
def test_a_write_that_may_have_been_acted_on_is_sent_once_and_says_so(
    vault: FakeVault, transport: Any, how: dict[str, Any], code: str
) -> None:
    vault.answer("POST", "/", **how)
    with pytest.raises(BackendUnavailableError, match="may have been changed: read it before") as raised:
        put(transport())
    assert raised.value.code == code
    assert len(vault.requests) == 1


def test_a_write_that_nobody_took_is_tried_again_until_somebody_does(vault: FakeVault, waits: Waits) -> None:
    vault.answer("POST", "/", 204)
    vault.down()

    def sleep(seconds: float) -> None:
        waits.sleep(seconds)
        vault.up()

    sender = Transport(Target(addresses=(vault.address,)), clock=waits.clock.monotonic, sleep=sleep)
    assert put(sender).status == 204
    assert len(vault.requests) == 1


def test_a_refused_connection_is_named_and_says_nothing_of_changes(vault: FakeVault, transport: Any) -> None:
    vault.down()
    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1:\d+ refuses connections") as raised:
        put(transport())
    assert raised.value.code == "connection_refused"
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    assert "changed" not in str(raised.value)


def test_an_unknown_host_is_unavailable() -> None:
    sender = Transport(Target(addresses=("http://no-such-host.invalid:1",), attempts=1))
    with pytest.raises(BackendUnavailableError, match="cannot be resolved") as raised:
        get(sender)
    assert raised.value.code == "unavailable"


def test_a_limit_of_our_own_spaces_requests_out(vault: FakeVault, transport: Any, waits: Waits) -> None:
    vault.answer("GET", "/", 200, {})
    sender = transport(rate_limit=2.0, burst=3)
    for _ in range(7):
        get(sender)
    assert waits.waited == pytest.approx([0.5] * 4)
    waits.clock.advance(60.0)
    for _ in range(3):
        get(sender)
    assert len(waits.waited) == 4


def test_a_limit_of_our_own_refuses_what_it_would_hold_back_too_long(vault: FakeVault, transport: Any) -> None:
    vault.answer("GET", "/", 200, {})
    sender = transport(rate_limit=0.01)
    get(sender)
    with pytest.raises(BackendUnavailableError, match="our own rate limit") as raised:
        get(sender)
    assert (raised.value.code, raised.value.own_limit) == ("rate_limited", True)
    assert len(vault.requests) == 1


def test_a_limit_of_the_server_s_is_not_our_own(vault: FakeVault, transport: Any) -> None:
    vault.answer("GET", "/", 429, LIMITED)
    with pytest.raises(BackendUnavailableError) as raised:
        get(transport(attempts=1))
    assert (raised.value.code, raised.value.own_limit) == ("rate_limited", False)


def test_whatever_a_server_does_ends_within_attempts_and_deadline(vault: FakeVault, waits: Waits) -> None:
    """Random answers: the number of requests, the time and the kind of outcome stay within bounds."""
    choose = random.Random(20260101)  # the same run each time
    statuses = (200, 204, 400, 403, 404, 412, 429, 500, 501, 502, 503)
    for _ in range(150):
        status = choose.choice(statuses)
        headers = {"Retry-After": str(choose.randrange(40))} if choose.random() < 0.3 else {}
        vault.answer(None, "/", status, choose.choice([SEALED, LIMITED, {}]), headers, reset=choose.random() < 0.2,
                     times=choose.randrange(1, 3))  # fmt: skip
        attempts, before, start = choose.randrange(1, 5), len(vault.requests), waits.clock.monotonic()
        sender = Transport(
            Target(addresses=(vault.address,), attempts=attempts), clock=waits.clock.monotonic, sleep=waits.sleep
        )
        with contextlib.suppress(BackendUnavailableError):
            reply = (get if choose.random() < 0.5 else put)(sender)
            assert reply.status < 500 or reply.status == 501
        assert 1 <= len(vault.requests) - before <= attempts
        assert waits.clock.monotonic() - start <= 60.0
