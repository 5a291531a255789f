"""Announcements reach callbacks, commands and webhooks, and no rotation waits for them."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import dues

from receivers import Server, answering
from strongroom.aio.manager import AsyncSecretManager
from strongroom.errors import ClosedError, InvalidNameError, RotationError
from strongroom.events.announcements import body_of, notice_of
from strongroom.events.updates import Announcement, SecretUpdated
from strongroom.model import SecretName
from strongroom.testing import FakeClock, in_forked_child

LIMIT = 10.0
DAY = 86400.0
MARKER = "v4lue-that-nobody-may-hear"
NAME = "db/password"
RULES: dict[str, Any] = {"db/*": {"every": "90d", "warn_before": "7d"}, "bad/*": {"rotator": "refusing"}}
REFUSING = """
from strongroom.contracts import Record
from strongroom.contracts.rotation import (
    ApplyResult, GenerateResult, Rotator, RotatorSpec, UndoResult, VerifyCandidateResult, FinishResult,
)
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue

class Settings(Record):
    pass

class Refusing(Rotator):
    def __init__(self, settings):
        pass

    def generate(self, request):
        return GenerateResult(value=SecretValue("{MARKER}-new"))

    def apply(self, request):
        raise ValueError(f"cannot set {request.candidate.reveal_text()}")

    def verify(self, request):
        return VerifyCandidateResult()

    def finish(self, request):
        return FinishResult()

    def undo(self, request):
        return UndoResult()

@hookimpl
def strongroom_rotators():
    yield RotatorSpec(name="refusing", summary="A test's own.", settings=Settings, open=Refusing)
""".replace("{MARKER}", MARKER)
HOOK = "shared secret"


def until(condition: Callable[[], object]) -> bool:
    """Wait for what another thread is about to do, and tell whether it did."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ANNOUNCING_HOOK", HOOK)
    running = Server()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def opened(open_manager: Any, distributions: Any) -> Callable[..., Any]:
    """Return a function that opens a manager with rules, one of whose rotators always fails."""
    distributions.add("refusing-rotators", {"strongroom.rotators": {"refusing": "refusing_rotators"}}, REFUSING)

    def make(*tables: dict[str, Any], **config: Any) -> Any:
        seed = {NAME: MARKER, "bad/password": MARKER, "plain": MARKER}
        return open_manager(seed, rotation=RULES, announcements=list(tables), **config)

    return make


@pytest.fixture
def manager(opened: Callable[..., Any]) -> Any:
    return opened()


def webhook(server: Server, **keys: Any) -> dict[str, Any]:
    return {"type": "webhook", "url": server.url(), "secret": {"env": "ANNOUNCING_HOOK"}} | keys


def posted(server: Server) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in server.seen]


def kinds(heard: list[Announcement]) -> list[tuple[str, str]]:
    return [(one.kind, str(one.name)) for one in heard]


class TestCallbacks:
    """``on_rotation``."""

    def test_a_rotation_that_begins_and_one_that_fails_are_announced(self, manager: Any) -> None:
        heard: list[Announcement] = []
        manager.on_rotation("**", heard.append)
        manager.rotate(NAME)
        with pytest.raises(RotationError) as caught:
            manager.rotate("bad/password")
        manager.close()
        assert kinds(heard) == [
            ("rotation_started", NAME),
            ("rotation_started", "bad/password"),
            ("rotation_failed", "bad/password"),
        ]
        assert heard[2].detail == caught.value.what
        assert MARKER not in str(heard)

    def test_what_is_due_is_announced_with_when(self, clock: FakeClock) -> None:
        heard: list[Announcement] = []
        began = clock.time()
        with dues.opened(clock, dues.DatedBackend(clock, NAME), RULES) as manager:
            manager.on_rotation(NAME, heard.append)
            clock.advance(84 * DAY)
            manager.rotation.rotate_due()
        assert kinds(heard) == [("rotation_due", NAME)]
        assert heard[0].when == datetime.fromtimestamp(began + 90 * DAY, UTC)

    def test_a_changed_secret_is_told_by_on_update_alone(self, manager: Any) -> None:
        heard: list[Announcement] = []
        manager.on_rotation("**", heard.append)
        manager.set(NAME, "next")
        manager.close()
        assert heard == []

    def test_only_names_that_fit_are_told(self, manager: Any) -> None:
        heard: list[Announcement] = []
        manager.on_rotation("other/**", heard.append)
        manager.on_rotation("db", heard.append)
        manager.rotate(NAME)
        manager.close()
        assert heard == []

    def test_who_may_not_read_a_name_is_not_told_of_it(self, opened: Callable[..., Any], rule: Any) -> None:
        policies = [rule("tester", "*"), rule("reader", "read", names="other/*")]
        manager = opened(policies=policies)
        heard: list[Announcement] = []
        mine: list[Announcement] = []
        manager.as_principal("reader").on_rotation("**", heard.append)
        manager.on_rotation("**", mine.append)
        manager.rotate(NAME)
        manager.close()
        assert (heard, kinds(mine)) == ([], [("rotation_started", NAME)])

    def test_ten_that_hang_and_ten_that_raise_hold_up_neither_the_rotation_nor_the_others(self, manager: Any) -> None:
        gate, heard = threading.Event(), []
        failures: list[str] = []

        def fails(event: Announcement) -> None:
            failures.append(event.kind)
            raise SystemExit(MARKER)

        for _ in range(10):
            manager.on_rotation("**", lambda _: gate.wait(LIMIT))
            manager.on_rotation("**", fails)
        manager.on_rotation("**", heard.append)
        start = time.monotonic()
        done = manager.rotate(NAME)
        assert time.monotonic() - start < 2.0
        assert done.is_complete
        assert until(lambda: len(heard) == 1 and len(failures) == 10)
        assert until(lambda: manager._parts.heralds.counts()["announcements"].failed == 10)
        gate.set()

    def test_a_subscription_ends_for_good(self, manager: Any) -> None:
        heard: list[Announcement] = []
        end = manager.on_rotation("**", heard.append)
        end()
        end()
        manager.rotate(NAME)
        manager.close()
        assert heard == []

    def test_a_malformed_pattern_is_refused_and_recorded(self, manager: Any, sink: Any) -> None:
        with pytest.raises(InvalidNameError):
            manager.on_rotation("db*", print)
        assert sink.events[-1].result == "invalid_name"

    def test_a_closed_manager_takes_none(self, manager: Any) -> None:
        manager.close()
        with pytest.raises(ClosedError):
            manager.on_rotation("**", print)

    def test_they_are_told_on_the_loop_of_an_asyncio_manager(self, manager: Any) -> None:
        import asyncio

        async def main() -> tuple[str, int]:
            told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

            async def note(event: Announcement) -> None:
                await told.put((event.kind, threading.get_ident()))

            async with AsyncSecretManager(manager) as aio:
                end = aio.on_rotation("db/*", note)
                await aio.rotate(NAME)
                found = await asyncio.wait_for(told.get(), LIMIT)
                end()
                with pytest.raises(InvalidNameError):
                    aio.on_rotation("db*", note)
                return found

        assert asyncio.run(main()) == ("rotation_started", threading.get_ident())


class TestSubscribersToChanges:
    """``on_update`` during a rotation: these are waited for, and named."""

    def test_one_that_raises_stops_nobody_and_makes_the_rotation_incomplete(self, manager: Any) -> None:
        heard: list[SecretUpdated] = []

        def fails(_: SecretUpdated) -> None:
            raise ValueError(MARKER)

        manager.on_update(NAME, fails)
        manager.on_update(NAME, heard.append)
        done = manager.rotate(NAME)
        assert [(one.change, one.version) for one in heard] == [("rotate", done.version)]
        assert not done.is_complete
        [failed] = done.subscribers_failed
        assert "fails raised ValueError" in failed
        assert MARKER not in failed


class TestBodies:
    def test_an_announcement_says_what_happened_where_and_when(self) -> None:
        when = datetime(2030, 1, 9, 5, tzinfo=UTC)
        event = Announcement(kind="rotation_due", name=SecretName("db/pässword"), detail="it is due", when=when)
        notice = notice_of(event, 1_893_553_445_000_678_000)
        assert notice is not None
        body = json.loads(body_of(notice))
        assert body.pop("id") == notice.id
        assert body == {
            "time": "2030-01-02T03:04:05.000678+00:00",
            "event": "rotation_due",
            "name": "db/pässword",
            "version": None,
            "detail": "it is due",
            "when": "2030-01-09T05:00:00+00:00",
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }

    @pytest.mark.parametrize("change", ["seen", "replace", "expire"])
    def test_what_this_process_has_not_done_is_not_told_outside(self, change: str) -> None:
        assert notice_of(SecretUpdated(name=SecretName(NAME), change=change, version="2"), 0) is None


class TestOutside:
    """``[[announcements]]``."""

    def test_every_change_by_this_process_is_posted_signed_without_a_value(
        self, opened: Callable[..., Any], server: Server
    ) -> None:
        manager = opened(webhook(server))
        manager.set(NAME, f"{MARKER}-1")
        manager.rotate(NAME)
        manager.rotate("plain")
        manager.delete(NAME)
        manager.undelete(NAME)
        manager.destroy(NAME, ["1"])
        with pytest.raises(RotationError):
            manager.rotate("bad/password")
        manager.close()
        assert [(one["event"], one["name"], one["version"], one["detail"]) for one in posted(server)[:-1]] == [
            ("secret_updated", NAME, "2", "set"),
            ("rotation_started", NAME, None, ""),
            ("secret_updated", NAME, "3", "rotate"),
            ("secret_updated", "plain", "2", "rotate"),
            ("secret_updated", NAME, None, "delete"),
            ("secret_updated", NAME, "3", "undelete"),
            ("secret_updated", NAME, None, "destroy"),
            ("rotation_started", "bad/password", None, ""),
        ]
        assert posted(server)[-1]["event"] == "rotation_failed"
        assert len({one["id"] for one in posted(server)}) == 9
        for _, headers, body in server.seen:
            signed = hmac.new(HOOK.encode(), headers["Strongroom-Timestamp"].encode() + b"." + body, hashlib.sha256)
            assert headers["Strongroom-Signature"] == f"v1={signed.hexdigest()}"
            assert MARKER not in f"{headers}{body!r}"

    @pytest.mark.parametrize(
        ("keys", "wanted"),
        [
            ({"events": ["rotation_failed"]}, [("rotation_failed", "bad/password")]),
            ({"events": []}, []),
            (
                {"names": ["bad/*"], "events": ["rotation_started", "secret_updated"]},
                [("rotation_started", "bad/password")],
            ),
            (
                {"names": ["plain", "db/**"]},
                [("rotation_started", NAME), ("secret_updated", NAME), ("secret_updated", "plain")],
            ),
        ],
    )
    def test_a_table_gets_what_it_wants(
        self, opened: Callable[..., Any], server: Server, keys: dict[str, Any], wanted: list[tuple[str, str]]
    ) -> None:
        manager = opened(webhook(server, **keys))
        manager.rotate(NAME)
        manager.set("plain", "next")
        with pytest.raises(RotationError):
            manager.rotate("bad/password")
        manager.close()
        assert [(one["event"], one["name"]) for one in posted(server)] == wanted

    def test_a_command_gets_it_on_its_standard_input_and_none_of_our_credentials(
        self, opened: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRONGROOM_MASTER_KEY", MARKER)
        program = "import os, sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n' + repr(sorted(os.environ)))"
        command = [sys.executable, "-c", program, str(tmp_path / "out")]
        manager = opened({"type": "command", "command": command, "events": ["secret_updated"]})
        manager.rotate(NAME)
        manager._parts.heralds._announcements().close(LIMIT)
        first, environment = (tmp_path / "out").read_text().splitlines()
        assert (json.loads(first)["event"], json.loads(first)["detail"]) == ("secret_updated", "rotate")
        assert "STRONGROOM_MASTER_KEY" not in environment

    def test_receivers_that_hang_or_fail_hold_up_no_rotation_and_are_counted(
        self, opened: Callable[..., Any], server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = threading.Event()
        server.behave = lambda _: gate.wait(LIMIT)  # type: ignore[assignment]  # its result means nothing
        gone = webhook(server, url="http://127.0.0.1:1/", events=["secret_updated"])
        manager = opened(*[webhook(server) for _ in range(10)], gone)
        start = time.monotonic()
        assert manager.rotate(NAME).is_complete
        assert time.monotonic() - start < 2.0
        manager.close()
        assert time.monotonic() - start < LIMIT / 2
        counts = manager._parts.heralds.counts()["announcements"]
        assert (counts.delivered, counts.failed, counts.lost) == (0, 1, 20)
        assert "an announcement did not reach announcements[11] (webhook)" in caplog.text
        gate.set()

    def test_an_answer_that_asks_for_it_is_followed_by_another_attempt_with_the_same_id(
        self, opened: Callable[..., Any], server: Server
    ) -> None:
        def busy(handler: Any) -> None:
            server.behave = answering(204)
            answering(503)(handler)

        server.behave = busy
        manager = opened(webhook(server))
        manager.set(NAME, "next")
        manager.close()
        first, second = posted(server)
        assert first == second

    def test_alerts_and_announcements_share_the_time_that_closing_takes(
        self, opened: Callable[..., Any], server: Server
    ) -> None:
        gate = threading.Event()
        server.behave = lambda _: gate.wait(LIMIT)  # type: ignore[assignment]  # its result means nothing
        manager = opened(webhook(server))
        manager.on_rotation("**", lambda _: gate.wait(LIMIT))
        manager.rotate(NAME)
        start = time.monotonic()
        manager.close()
        assert 1.5 < time.monotonic() - start < 3.5
        gate.set()

    def test_a_forked_child_announces_itself_and_nothing_of_its_parent(
        self, opened: Callable[..., Any], server: Server
    ) -> None:
        gate, entered = threading.Event(), threading.Event()

        def wait(handler: Any) -> None:
            entered.set()
            gate.wait(LIMIT)
            answering(204)(handler)

        server.behave = wait
        manager = opened(webhook(server))
        manager.set("plain", "1")
        manager.set("plain", "2")
        assert entered.wait(LIMIT)

        def child() -> str:
            manager.set(NAME, "3")
            manager._parts.heralds._announcements().close(LIMIT)
            return str(manager._parts.heralds.counts()["announcements"].delivered)

        threading.Timer(0.1, gate.set).start()
        assert in_forked_child(child) == "1"
        manager.close()
        mine = [one["name"] for one in posted(server) if one["pid"] == os.getpid()]
        others = [one["name"] for one in posted(server) if one["pid"] != os.getpid()]
        assert (mine, others) == (["plain", "plain"], [NAME])


def test_whoever_announces_to_nobody_loads_nothing_for_it(run_program: Any) -> None:
    done = run_program(
        """
        import sys

        import strongroom

        with strongroom.open({"audit": "none", "backends": {"m": {"type": "memory"}}}) as manager:
            manager.set("a", "b")
        wanted = ("strongroom.events.delivery", "strongroom.events.announcements")
        print([name for name in sys.modules if name in wanted])
        """
    )
    assert done.stdout.strip() == "[]", done.stderr
