"""Messages, alerts here, reach each subscriber, in a thread of its own, and hold up nobody."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import weakref

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.anomaly.stage import Alert
from strongroom.config.alerts import AlertKeys
from strongroom.contracts import Access
from strongroom.events.alerts import WORDING, filter_of
from strongroom.events.delivery import QUEUE_SIZE, Delivery, DeliveryCounts, Subscriber
from strongroom.events.targets import DeliveryError, Target
from strongroom.model import Principal, PrincipalSource, SecretName
from strongroom.testing import FakeClock, in_forked_child, in_threads

LIMIT = 10.0

Made = Callable[..., Delivery[Alert]]


def alert(number: int = 0, *, detector: str = "rate", blocked: bool = False) -> Alert:
    access = Access(
        principal=Principal(name="api", source=PrincipalSource.AS_PRINCIPAL),
        action="read",
        name=SecretName("db/password"),
        time=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    return Alert(
        id=f"id-{number}",
        detector=detector,
        reason="too fast",
        evidence=("9 a second",),
        access=access,
        blocked=blocked,
    )


class Recorder(Target[Alert]):
    """Notes what it is given, and fails or waits as it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.attempts = 0
        self.errors: list[Exception] = []
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self.cancelled = False
        self._changed = threading.Condition()

    def deliver(self, alert: Alert) -> None:
        self.attempts += 1
        self.entered.set()
        if self.gate is not None:
            self.gate.wait(LIMIT)
        if self.errors:
            raise self.errors.pop(0)
        with self._changed:
            self.taken.append(alert.id)
            self._changed.notify_all()

    def cancel(self) -> None:
        self.cancelled = True

    def wait_for(self, count: int) -> bool:
        with self._changed:
            return bool(self._changed.wait_for(lambda: len(self.taken) >= count, LIMIT))


def until(condition: Callable[[], object]) -> bool:
    """Wait for what another thread is about to do, and tell whether it did."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


@pytest.fixture
def target() -> Recorder:
    return Recorder()


@pytest.fixture
def made() -> Iterator[Made]:
    """Return a function that makes alerts for targets; they are closed in the end."""
    opened: list[Delivery[Alert]] = []

    def make(*targets: Target[Alert], clock: Callable[[], float] = time.monotonic, **options: Any) -> Delivery[Alert]:
        wants = filter_of(AlertKeys(**options))
        subscribers = [Subscriber(name=f"target {n}", target=one, wants=wants) for n, one in enumerate(targets)]
        opened.append(Delivery(WORDING, subscribers, pauses=(0.001, 0.001), clock=clock))
        return opened[-1]

    yield make
    for one in opened:
        one.close(0)


def test_every_subscriber_gets_each_alert_in_order(made: Made) -> None:
    targets = Recorder(), Recorder()
    alerts = made(*targets)
    for number in range(20):
        alerts.publish(alert(number))
    for target in targets:
        assert target.wait_for(20)
        assert target.taken == [f"id-{number}" for number in range(20)]
    alerts.close()
    assert alerts.counts() == DeliveryCounts(delivered=40, failed=0, lost=0)


def test_nobody_to_tell_costs_nothing(made: Made) -> None:
    before = threading.active_count()
    alerts = made()
    alerts.publish(alert())
    alerts.close()
    assert alerts.counts() == DeliveryCounts(delivered=0, failed=0, lost=0)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, ["id-1", "id-2", "id-3"]),
        ({"detectors": ["rate"]}, ["id-1", "id-2"]),
        ({"detectors": []}, []),
        ({"only_blocked": True}, ["id-2", "id-3"]),
        ({"only_blocked": True, "detectors": ["rate"]}, ["id-2"]),
    ],
)
def test_a_subscriber_gets_what_it_wants(
    made: Made, target: Recorder, options: dict[str, object], wanted: list[str]
) -> None:
    alerts = made(target, **options)
    alerts.publish(alert(1))
    alerts.publish(alert(2, blocked=True))
    alerts.publish(alert(3, detector="hours", blocked=True))
    alerts.close()
    assert target.taken == wanted


class TestCallbacks:
    def test_a_callback_gets_the_alert_itself(self, made: Made) -> None:
        told: list[Alert] = []
        alerts = made()
        alerts.subscribe(told.append)
        alerts.publish(alert(1))
        alerts.close()
        assert told == [alert(1)]

    def test_a_subscription_ends_for_good(self, made: Made) -> None:
        told: list[Alert] = []
        alerts = made()
        end = alerts.subscribe(told.append)
        end()
        end()
        alerts.publish(alert())
        alerts.close()
        assert told == []
        assert alerts.counts().lost == 0

    def test_ending_one_that_was_told_nothing_starts_no_thread(
        self, made: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[threading.Thread] = []
        monkeypatch.setattr(threading.Thread, "start", started.append)
        made().subscribe(print)()
        assert started == []

    def test_what_waits_when_it_ends_is_not_delivered(self, made: Made, target: Recorder) -> None:
        target.gate = threading.Event()
        alerts = made()
        end = alerts.subscribe(target.deliver)
        for number in range(5):
            alerts.publish(alert(number))
        target.entered.wait(LIMIT)
        end()
        target.gate.set()
        alerts.close()
        assert until(lambda: target.taken == ["id-0"])
        assert alerts.counts().lost == 0

    def test_one_that_raises_is_called_once_counted_and_named_without_its_text(
        self, made: Made, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls: list[str] = []

        def fails(given: Alert) -> None:
            calls.append(given.id)
            raise RuntimeError("s3cret")

        def exits(given: Alert) -> None:
            calls.append(given.id)
            raise SystemExit("s3cret")

        caplog.set_level(logging.WARNING, "strongroom")
        alerts = made()
        alerts.subscribe(fails)
        alerts.subscribe(exits)
        alerts.publish(alert(1))
        assert until(lambda: alerts.counts().failed == 2)
        alerts.publish(alert(2))
        alerts.close()
        assert sorted(calls) == ["id-1", "id-1", "id-2", "id-2"]
        assert alerts.counts() == DeliveryCounts(delivered=0, failed=4, lost=0)
        assert "s3cret" not in caplog.text
        assert "fails: it raised RuntimeError" in caplog.text or "exits: it raised SystemExit" in caplog.text

    def test_one_that_closes_the_alerts_does_not_wait_for_itself(self, made: Made) -> None:
        alerts = made()
        done = threading.Event()

        def closes(_: Alert) -> None:
            alerts.close()
            done.set()

        alerts.subscribe(closes)
        alerts.publish(alert())
        assert done.wait(LIMIT)

    def test_one_that_raises_an_alert_itself_is_told_of_it(self, made: Made) -> None:
        alerts = made()
        told: list[str] = []

        def again(given: Alert) -> None:
            told.append(given.id)
            if len(told) < 3:
                alerts.publish(alert(len(told)))

        alerts.subscribe(again)
        alerts.publish(alert(0))
        assert until(lambda: told == ["id-0", "id-1", "id-2"])


class TestFailures:
    def test_a_failed_delivery_is_tried_twice_more(self, made: Made, target: Recorder) -> None:
        target.errors = [DeliveryError("one"), DeliveryError("two")]
        alerts = made(target)
        alerts.publish(alert(1))
        assert target.wait_for(1)
        assert target.attempts == 3
        alerts.close()
        assert alerts.counts() == DeliveryCounts(delivered=1, failed=0, lost=0)

    def test_after_three_attempts_the_next_has_its_turn(self, made: Made, target: Recorder) -> None:
        target.errors = [DeliveryError(str(number)) for number in range(3)]
        alerts = made(target)
        alerts.publish(alert(1))
        alerts.publish(alert(2))
        assert target.wait_for(1)
        assert target.taken == ["id-2"]
        alerts.close()
        assert alerts.counts() == DeliveryCounts(delivered=1, failed=1, lost=0)

    @pytest.mark.parametrize("error", [DeliveryError("never", again=False), ZeroDivisionError("s3cret")])
    def test_what_cannot_succeed_is_not_tried_again(self, made: Made, target: Recorder, error: Exception) -> None:
        target.errors = [error]
        alerts = made(target)
        alerts.publish(alert(1))
        alerts.publish(alert(2))
        assert target.wait_for(1)
        assert target.attempts == 2
        alerts.close()
        assert alerts.counts() == DeliveryCounts(delivered=1, failed=1, lost=0)

    def test_one_that_hangs_holds_up_neither_the_publisher_nor_others(self, made: Made) -> None:
        hanging, other = Recorder(), Recorder()
        hanging.gate = threading.Event()
        alerts = made(hanging, other)
        start = time.monotonic()
        for number in range(50):
            alerts.publish(alert(number))
        assert other.wait_for(50)
        assert time.monotonic() - start < LIMIT / 2
        assert hanging.taken == []
        hanging.gate.set()
        assert hanging.wait_for(50)

    def test_what_does_not_fit_into_the_queue_is_lost_counted_and_warned_of_once(
        self, made: Made, target: Recorder, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, "strongroom")
        target.gate = threading.Event()
        alerts = made(target, clock=clock)
        alerts.publish(alert(0))
        target.entered.wait(LIMIT)
        for number in range(QUEUE_SIZE + 5):
            alerts.publish(alert(number + 1))
        assert alerts.counts().lost == 5
        target.gate.set()
        assert target.wait_for(QUEUE_SIZE + 1)
        warnings = [record.getMessage() for record in caplog.records]
        assert warnings == ["1 alerts are lost to target 0: 1000 wait already"]
        clock.advance(60)
        target.errors = [DeliveryError("no answer", again=False)]
        alerts.publish(alert(1))
        assert until(lambda: len(caplog.records) == 2)
        assert caplog.records[1].getMessage() == "an alert did not reach target 0: no answer"

    def test_a_thread_that_cannot_be_started_is_tried_with_the_next_alert(
        self, made: Made, target: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        alerts = made(target)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            alerts.publish(alert(1))
        alerts.publish(alert(2))
        assert target.wait_for(2)


class TestClosing:
    def test_what_waits_is_delivered(self, made: Made, target: Recorder) -> None:
        target.gate = threading.Event()
        alerts = made(target)
        for number in range(5):
            alerts.publish(alert(number))
        target.gate.set()
        alerts.close()
        assert len(target.taken) == 5
        assert alerts.counts() == DeliveryCounts(delivered=5, failed=0, lost=0)

    def test_what_is_not_delivered_in_time_is_lost_and_the_delivery_under_way_cancelled(
        self, made: Made, target: Recorder
    ) -> None:
        target.gate = threading.Event()
        alerts = made(target)
        for number in range(5):
            alerts.publish(alert(number))
        target.entered.wait(LIMIT)
        start = time.monotonic()
        alerts.close(0.05)
        assert time.monotonic() - start < LIMIT / 2
        assert alerts.counts() == DeliveryCounts(delivered=0, failed=0, lost=5)
        assert target.cancelled
        target.gate.set()
        assert until(lambda: target.taken)
        time.sleep(0.02)
        assert target.taken == ["id-0"], "what is counted as lost must not be delivered later"
        assert alerts.counts() == DeliveryCounts(delivered=0, failed=0, lost=5)

    def test_there_is_one_time_limit_for_all_of_them(self, made: Made) -> None:
        targets = [Recorder() for _ in range(4)]
        for target in targets:
            target.gate = threading.Event()
        alerts = made(*targets)
        alerts.publish(alert())
        start = time.monotonic()
        alerts.close(0.2)
        assert time.monotonic() - start < 0.8
        assert alerts.counts().lost == 4
        for target in targets:
            target.gate.set()  # type: ignore[union-attr]  # set above

    def test_no_pause_before_another_attempt_is_waited_for(self, target: Recorder) -> None:
        target.errors = [DeliveryError("one"), DeliveryError("two")]
        alerts = Delivery(WORDING, [Subscriber(name="target", target=target)], pauses=(60.0, 60.0))
        alerts.publish(alert(1))
        target.entered.wait(LIMIT)
        start = time.monotonic()
        alerts.close()
        assert time.monotonic() - start < LIMIT / 2
        assert target.taken == ["id-1"]

    def test_later_alerts_are_lost(self, made: Made, target: Recorder) -> None:
        alerts = made(target)
        alerts.close()
        alerts.close()
        alerts.publish(alert())
        assert alerts.counts() == DeliveryCounts(delivered=0, failed=0, lost=1)
        assert target.taken == []

    def test_alerts_that_nobody_holds_any_more_are_collected(self, target: Recorder) -> None:
        alerts = Delivery(WORDING, [Subscriber(name="target", target=target)])
        alerts.publish(alert(1))
        assert target.wait_for(1)
        reference = weakref.ref(alerts)
        del alerts
        gc.collect()
        assert reference() is None


class TestForksAndThreads:
    def test_a_child_starts_with_an_empty_queue_and_threads_of_its_own(self, made: Made, target: Recorder) -> None:
        target.gate = threading.Event()
        alerts = made(target)
        for number in range(3):
            alerts.publish(alert(number))
        target.entered.wait(LIMIT)

        def child() -> str:
            target.gate = None
            target._changed = threading.Condition()
            alerts.after_fork()
            before = alerts.counts()
            alerts.publish(alert(9))
            target.wait_for(1)
            alerts.close()
            return f"{target.taken} {before.lost + before.delivered} {alerts.counts().delivered}"

        assert in_forked_child(child) == "['id-9'] 0 1"
        target.gate.set()
        assert target.wait_for(3)
        assert target.taken == ["id-0", "id-1", "id-2"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_callback_that_forks_is_told_in_the_parent_alone(self, made: Made, tmp_path: Path) -> None:
        heard, parent = tmp_path / "heard", os.getpid()
        queued, children = threading.Event(), []

        def callback(alert: Alert) -> None:
            with heard.open("a") as file:
                file.write(f"{alert.id}\n")
            if alert.id == "id-0":
                queued.wait(LIMIT)
                children.append(os.fork())
                if not children[0]:
                    threading.Timer(2.0, os._exit, [0]).start()
                    alerts.after_fork()

        alerts = made()
        alerts.subscribe(callback)
        for number in range(3):
            alerts.publish(alert(number))
        queued.set()
        try:
            alerts.close(LIMIT)
        finally:
            assert os.getpid() == parent
            os.waitpid(children[0], 0)
        assert heard.read_text().split() == ["id-0", "id-1", "id-2"]

    def test_a_child_of_closed_alerts_has_closed_ones(self, made: Made, target: Recorder) -> None:
        alerts = made(target)
        alerts.close()

        def child() -> str:
            alerts.after_fork()
            alerts.publish(alert())
            return str(alerts.counts().lost)

        assert in_forked_child(child) == "1"

    def test_many_threads_may_publish_at_once(self, made: Made, target: Recorder) -> None:
        alerts = made(target)
        in_threads(8, lambda thread: [alerts.publish(alert(thread * 50 + number)) for number in range(50)])
        assert target.wait_for(400)
        assert len(set(target.taken)) == 400
        alerts.close()
        assert alerts.counts() == DeliveryCounts(delivered=400, failed=0, lost=0)

    def test_a_thread_with_nothing_to_do_ends_and_the_next_alert_gets_another(
        self, made: Made, target: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.events.delivery._IDLE_SECONDS", 0.01)
        before = set(threading.enumerate())
        alerts = made(target)
        for number in range(3):
            alerts.publish(alert(number))
            assert target.wait_for(number + 1)
            assert until(lambda: set(threading.enumerate()) <= before)
