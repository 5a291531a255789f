"""Certificates that a manager rotates: what callers see, when they are due, and what is in logs and audit events."""

from __future__ import annotations

import json
import logging
import ssl

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import strongroom

from authorities import DAY, authority
from strongroom.errors import AccessDeniedError, ConfigurationError
from strongroom.testing import FakeClock, MemorySink, assert_hidden, report_of
from tlsuse import client_of, handshake, members_of, shown_by

HOST = "web.example.com"
CA = authority()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that shows the real time until it is moved on, in whole seconds as certificates do."""
    return FakeClock(wall=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


def opened(clock: FakeClock, sink: MemorySink, rule: dict[str, Any] | None = None, **more: Any) -> Any:
    rule = {"rotator": "tls", "ca": "tls/ca", "names": [HOST]} | (rule or {})
    manager = strongroom.open(
        {"audit": "none", "principal": "ops", "backends": {"main": {"type": "memory"}}, "rotation": {"tls/web": rule}}
        | more,
        clock=clock,
        wall_clock=lambda: int(clock.time() * 1e9),
        sleep=clock.sleep,
        sinks=(sink,),
    )
    manager.set("tls/ca", CA.text)
    manager.set("tls/web", "none yet")
    return manager


@pytest.fixture
def manager(clock: FakeClock, sink: MemorySink) -> Iterator[strongroom.SecretManager]:
    with opened(clock, sink) as manager:
        yield manager


def test_the_first_rotation_makes_a_certificate_of_whatever_was_there(manager: strongroom.SecretManager) -> None:
    done = manager.rotate("tls/web")
    value = manager.get("tls/web").reveal_text()
    assert manager.get("tls/web").version == done.version
    handshake(shown_by(value, server=True), client_of(CA.pem), HOST)
    assert manager.get("tls/web", field="certificate").reveal_text() == members_of(value)["certificate"]


def test_a_second_rotation_makes_another_one_with_another_key(manager: strongroom.SecretManager) -> None:
    manager.rotate("tls/web")
    first = json.loads(manager.get("tls/web").reveal_text())
    manager.rotate("tls/web")
    second = json.loads(manager.get("tls/web").reveal_text())
    assert all(first[member] != second[member] for member in ("certificate", "private_key", "serial"))


def test_subscribers_are_told_once_the_new_certificate_can_be_read(manager: strongroom.SecretManager) -> None:
    served: list[ssl.SSLContext] = []
    manager.on_update(
        "tls/web", lambda event: served.append(shown_by(manager.get(event.name).reveal_text(), server=True))
    )
    manager.rotate("tls/web")
    (context,) = served
    handshake(context, client_of(CA.pem), HOST)


def test_reading_the_authority_is_on_the_audit_trail(manager: strongroom.SecretManager, sink: MemorySink) -> None:
    manager.rotate("tls/web")
    read = [event for event in sink.events if event.event == "get" and event.key == "tls/ca"]
    assert [(event.principal, event.detail) for event in read] == [("ops", "to rotate tls/web")] * len(read)
    assert read


def test_who_may_not_read_the_authority_rotates_nothing(clock: FakeClock, sink: MemorySink) -> None:
    policies = [
        {"principal": "ops", "effect": "allow", "actions": ["*"], "names": ["**"]},
        {"principal": "web", "effect": "allow", "actions": ["read", "rotate", "list"], "names": ["tls/web"]},
    ]
    with opened(clock, sink, policies=policies) as manager:
        with pytest.raises(AccessDeniedError):
            manager.as_principal("web").rotate("tls/web")
        assert manager.refresh("tls/web").reveal_text() == "none yet"
        (status,) = manager.rotation.status("tls/web")
        assert (status.state, status.id) == ("idle", None)


def test_an_authority_that_has_ended_leaves_all_as_it_was(manager: strongroom.SecretManager) -> None:
    manager.rotate("tls/web")
    before = manager.get("tls/web")
    manager.set("tls/ca", authority(ends=-DAY / 2).text)
    with pytest.raises(ConfigurationError, match="has ended"):
        manager.rotate("tls/web")
    assert manager.refresh("tls/web").version == before.version
    manager.set("tls/ca", CA.text)
    manager.rotate("tls/web")


@pytest.mark.parametrize(
    ("rule", "after"),
    [({"life": "90d"}, 60 * 86400), ({"life": "90d", "renew_before": "30d"}, 60 * 86400), ({"life": "30s"}, 20)],
)
def test_it_is_due_by_what_is_left_of_its_life(
    clock: FakeClock, sink: MemorySink, rule: dict[str, Any], after: float
) -> None:
    with opened(clock, sink, rule) as manager:
        # What is no certificate has no life, so nothing says that it is due.
        assert manager.rotation.rotate_due().rotated == ()
        manager.rotate("tls/web")
        before = manager.get("tls/web").version
        clock.advance(after * 0.97)
        assert manager.rotation.rotate_due().rotated == ()
        clock.advance(after * 0.06)
        (done,) = manager.rotation.rotate_due().rotated
        assert done.name == "tls/web"
        assert manager.get("tls/web").version == done.version != before


def test_no_key_is_in_an_audit_event_a_log_or_an_error(
    manager: strongroom.SecretManager, sink: MemorySink, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        manager.rotate("tls/web")
        manager.set("tls/ca", CA.pem + authority().key_pem)
        with pytest.raises(strongroom.StrongroomError) as caught:
            manager.rotate("tls/web")
    shown = caplog.text + repr(sink.events) + report_of(caught.value, "strongroom_rotate_tls")
    for key in (CA.key_pem, json.loads(manager.get("tls/web").reveal_text())["private_key"]):
        for line in key.splitlines()[1:-1]:
            assert_hidden(line, shown, "what is shown")
