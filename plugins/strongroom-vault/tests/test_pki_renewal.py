"""Certificates of a PKI engine that a manager rotates: overlap, undoing, when they are due, what is in logs."""

from __future__ import annotations

import json
import logging

from datetime import UTC, datetime
from typing import Any

import pytest

import strongroom

from engines import new_mount, opened
from openbao import ROOT_TOKEN, Server
from pkis import HOST, assert_no_key_in, revoked, serial_of
from strongroom.testing import FakeClock, MemorySink


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=datetime.now(UTC))


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def opening(server: Server, authority_mount: str, clock: FakeClock, sink: MemorySink) -> Any:
    backend = opened(server, new_mount(server, 2))

    def start(**more: Any) -> strongroom.SecretManager:
        rule = {
            "rotator": "vault-pki",
            "role": "web",
            "mount": authority_mount,
            "common_name": HOST,
            "address": server.address,
        }
        rule |= {"proxy": "", "auth": {"token": ROOT_TOKEN}, "overlap": "10m"} | more
        manager = strongroom.open(
            {"audit": "none", "principal": "ops", "backend": "main", "rotation": {"tls/web": rule}},
            clock=clock,
            wall_clock=lambda: int(clock.time() * 1e9),
            sleep=clock.sleep,
            backends={"main": backend},
            sinks=(sink,),
        )
        manager.set("tls/web", "none yet")
        return manager

    return start


def test_the_former_certificate_is_good_until_the_overlap_is_over_and_revoked_then(
    opening: Any, server: Server, authority_mount: str, clock: FakeClock
) -> None:
    with opening() as manager:
        assert manager.rotate("tls/web").unfinished
        clock.advance(601)
        former = manager.get("tls/web").value
        done = manager.rotate("tls/web")
        current = manager.get("tls/web").value
        assert serial_of(current) != serial_of(former)
        assert manager.get("tls/web").version == done.version
        clock.advance(300)
        manager.rotation.rotate_due()
        assert not revoked(server, authority_mount, former)
        clock.advance(301)
        manager.rotation.rotate_due()
        assert revoked(server, authority_mount, former)
        assert not revoked(server, authority_mount, current)
        assert manager.refresh("tls/web").value == current


def test_undoing_gives_the_former_certificate_back_and_revokes_the_candidate(
    opening: Any, server: Server, authority_mount: str, clock: FakeClock
) -> None:
    with opening() as manager:
        manager.rotate("tls/web")
        clock.advance(601)
        former = manager.get("tls/web").value
        manager.rotate("tls/web")
        candidate = manager.get("tls/web").value
        manager.rotation.undo("tls/web")
        assert manager.get("tls/web").value == former
        assert revoked(server, authority_mount, candidate)
        assert not revoked(server, authority_mount, former)


@pytest.mark.parametrize(("rule", "after"), [({"ttl": "30s"}, 20), ({"ttl": "30s", "renew_before": "20s"}, 10)])
def test_a_short_one_is_due_by_what_is_left_of_its_life(
    opening: Any, clock: FakeClock, rule: dict[str, Any], after: float
) -> None:
    with opening(overlap=0, **rule) as manager:
        manager.rotate("tls/web")
        life = json.loads(manager.get("tls/web").reveal_text())
        clock.advance(after - 3)
        assert manager.rotation.rotate_due().rotated == ()
        clock.advance(6)
        (done,) = manager.rotation.rotate_due().rotated
        assert done.name == "tls/web"
        assert serial_of(manager.get("tls/web").value) != life["serial"]


def test_no_key_is_in_an_audit_event_or_a_log(opening: Any, sink: MemorySink, caplog: pytest.LogCaptureFixture) -> None:
    with opening() as manager, caplog.at_level(logging.DEBUG):
        manager.rotate("tls/web")
        value = json.loads(manager.get("tls/web").reveal_text())
    assert_no_key_in(caplog.text + repr(sink.events), value)
