"""Cache hits by the hundred thousand, with the real sink: every one is recorded, once, in a trail that verifies."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Access, AnomalyDetector, Decision, Repeats, TrailQuery, Verdict
from strongroom.errors import SecretNotFoundError
from strongroom.model import AuditEvent
from strongroom.testing import in_threads
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink

HITS = 100_000
NAMES = [f"n/{number}" for number in range(10)]

PLUGIN = """
from strongroom.contracts import DetectorSpec, Record
from strongroom.hookspecs import hookimpl

known = []

class Settings(Record):
    number: int

@hookimpl
def strongroom_anomaly_detectors():
    yield DetectorSpec(
        name="counting", summary="A test's own.", settings=Settings, open=lambda settings: known[settings.number]
    )
"""


class Counting(AnomalyDetector):
    """Counts every access, whether it is shown or only counted; it is asked again after every ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.next = itertools.count(1).__next__

    def judge(self, access: Access) -> Verdict:
        self.next()
        return Verdict(decision=Decision.ALLOW)

    def repeats(self, access: Access) -> Repeats:
        left = itertools.count(1).__next__

        def count() -> int:
            found = left()
            if found <= self.limit:
                self.next()
            return found

        return Repeats(counters=((count, self.limit),))


@pytest.fixture
def detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[AnomalyDetector]]:
    """Detectors that the configuration can name; a test fills the list."""
    place = tmp_path / "installed"
    info = place / "hot_path_detectors-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "hot_path_detectors.py").write_text(textwrap.dedent(PLUGIN))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hot-path-detectors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[strongroom.anomaly_detectors]\ncounting = hot_path_detectors\n")
    monkeypatch.syspath_prepend(str(place))
    import hot_path_detectors

    yield hot_path_detectors.known
    del sys.modules["hot_path_detectors"]


class Trail:
    """A trail on disk and managers that write to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.jsonl"

    def open(self, **config: Any) -> strongroom.SecretManager:
        backend = MemoryBackend()
        manager = strongroom.open(
            {"audit": [{"type": "jsonl", "path": str(self.path)}], "principal": "tester"} | config,
            backends={"memory": backend},
        )
        for name in NAMES:
            manager.set(name, "v")
            manager.get(name)
        return manager

    def sealed_events(self) -> list[AuditEvent]:
        """Return what was recorded, after checking that nothing is wrong with it."""
        sink = JsonlSink(JsonlSettings(path=str(self.path)))
        report = sink.verify()
        assert (report.state, report.findings) == ("sealed", ())
        return list(sink.read(TrailQuery()))


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def hits_of(events: list[AuditEvent]) -> list[AuditEvent]:
    return [event for event in events if event.event == "get" and event.cache_hit]


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("watching", [0, 3])
def test_every_hit_is_counted_and_recorded_once(
    threads: int, watching: int, trail: Trail, detectors: list[AnomalyDetector]
) -> None:
    """Whatever number of threads reads, and whoever watches them."""
    found = [Counting(limit) for limit in (10, HITS, HITS)[:watching]]
    detectors.extend(found)
    tables = [{"type": "counting", "number": number} for number in range(watching)]

    def read(number: int) -> None:
        for turn in range(number, HITS, threads):
            assert manager.get(NAMES[turn % 10]).version == "1"

    with trail.open(anomaly=tables) as manager:
        in_threads(threads, read)
        stats = manager.stats()
    assert (stats.hits, stats.misses, stats.reads) == (HITS, 10, HITS + 10)
    events = trail.sealed_events()
    hits = hits_of(events)
    assert len(hits) == HITS
    assert len({event.id for event in hits}) == HITS
    assert Counter(event.key for event in hits) == dict.fromkeys(NAMES, HITS // 10)
    assert {(event.result, event.source, event.version, event.principal, event.backend) for event in hits} == {
        ("ok", "cache", "1", "tester", "memory")
    }
    assert [event.event for event in events[:1] + events[-1:]] == ["opened", "closed"]
    # Ten names were written and fetched before, which every detector has been shown, too.
    assert [detector.next() - 1 for detector in found] == [HITS + 20] * watching


def test_each_kind_of_answer_keeps_its_own_facts_in_one_crowd(trail: Trail) -> None:
    """Views, missing names and new versions among plain hits, in several threads."""
    with trail.open() as manager:
        view = manager.as_principal("api")

        def read(number: int) -> None:
            for turn in range(1000):
                (view if number % 2 else manager).get(NAMES[turn % 10])
                if turn % 10 == 0:
                    with pytest.raises(SecretNotFoundError):
                        manager.get("absent")
                if number == 0 and turn % 100 == 0:
                    manager.set(NAMES[0], f"v{turn}")

        in_threads(4, read)
        stats = manager.stats()
    gets = [event for event in trail.sealed_events() if event.event == "get"]
    assert len({event.id for event in gets}) == len(gets) == stats.reads == 10 + 4 * 1100
    assert sum(event.cache_hit for event in gets) == stats.hits + stats.negative_hits
    told = Counter((event.principal, event.on_behalf_of, event.result) for event in gets)
    assert told == {("tester", None, "ok"): 2010, ("api", "tester", "ok"): 2000, ("tester", None, "not_found"): 400}
    assert {event.key for event in gets if event.result == "not_found"} == {"absent"}
    assert {event.version for event in gets if event.key == NAMES[1]} == {"1"}
    assert {event.version for event in gets if event.key == "absent"} == {None}
    versions = [int(event.version) for event in gets if event.key == NAMES[0] and event.version is not None]
    assert set(versions) >= {1, 11}


READERS = """
import itertools, os, sys, threading, time
import strongroom
from strongroom.builtin.memory import MemoryBackend

manager = strongroom.open({"audit": [{"type": "jsonl", "path": sys.argv[1]}]}, backends={"memory": MemoryBackend()})
def read(number):
    name = f"n/{number}"
    manager.set(name, "v")
    manager.get(name)
    for count in itertools.count(0, 50):
        os.write(1, f"{number} {count} {time.monotonic()}\\n".encode())
        for _ in range(50): manager.get(name)
threads = [threading.Thread(target=read, args=(number,)) for number in range(int(sys.argv[2]))]
for thread in threads: thread.start()
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_killing_a_busy_reader_loses_at_most_what_it_read_in_the_last_50_milliseconds(
    threads: int, trail: Trail, tmp_path: Path
) -> None:
    """No hit is served while an older one has waited for longer than that, so it holds however busy the machine is."""
    program = tmp_path / "program.py"
    program.write_text(READERS)
    told: list[list[tuple[int, float]]] = [[] for _ in range(threads)]
    command = [sys.executable, str(program), str(trail.path), str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if not line.endswith("\n"):
                break  # it was killed within this line
            number, count, when = line.split()
            told[int(number)].append((int(count), float(when)))
            if all(len(lines) > 3 and lines[1][1] < lines[-2][1] - 0.3 for lines in told):
                running.kill()
    # What was read after a line was written is known to have been served only if another line follows.
    served = max(lines[-2][1] for lines in told)
    sink = JsonlSink(JsonlSettings(path=str(trail.path)))
    recorded = Counter(event.key for event in sink.read(TrailQuery()) if event.cache_hit)
    for number, lines in enumerate(told):
        owed = max(count for count, when in lines if when < served - 0.05)
        assert 0 < owed <= recorded[f"n/{number}"]
    assert {finding.kind for finding in sink.verify().findings} <= {"unclosed", "unsealed", "gap"}
