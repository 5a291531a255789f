"""What holds for any traffic: there is a verdict, memory has a limit, and a state that is read is the one written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from accesses import access, principal
from strongroom.contracts import AnomalyDetector, Outcome, Verdict
from strongroom_anomaly.plugin import strongroom_anomaly_detectors

SPECS = {spec.name: spec for spec in strongroom_anomaly_detectors()}
MOST = 1 << 20
SMALL = {"max_tracked": 3, "max_names": 8}

TIMES = st.one_of(
    st.floats(1.7e9, 1.8e9),
    st.floats(-1e9, 2e10),
    st.sampled_from([1.75e9 + step for step in (0, 1, 59.999, 60, -1, 3600, 86400, 604800)]),
)
ACCESSES = st.builds(
    lambda time, who, base, name, action, allowed, host, process: access(
        datetime.fromtimestamp(time, UTC),
        f"folder/{name}",
        f"principal-{who}",
        base=None if base is None else principal(f"principal-{base}"),
        action=action,
        allowed=allowed,
        host=host,
        process=process,
    ),
    TIMES,
    st.integers(0, 6),
    st.none() | st.integers(0, 6),
    st.integers(0, 30),
    st.sampled_from(["read", "read", "read", "list", "create", "update", "delete"]),
    st.booleans(),
    st.sampled_from(["", "web-1", "web-2f", "caf\u00e9", "10.0.0.1"]),
    st.sampled_from(["", "python", "curl"]),
)
STEPS = st.lists(st.tuples(ACCESSES, st.sampled_from(["ok", "not_found", "denied", "suspicious"])), max_size=80)


def new(kind: str, **values: object) -> AnomalyDetector:
    spec = SPECS[kind]
    known = {name: value for name, value in values.items() if name in spec.settings._fields}
    return spec.open(spec.settings(**known))


def see(detector: AnomalyDetector, steps: list) -> list[Verdict]:
    verdicts = []
    for request, result in steps:
        verdicts.append(detector.judge(request))
        wish = detector.repeats(request)
        assert wish is not None
        assert wish.until > request.time.timestamp() - 60
        verdicts.append(detector.observe(Outcome(access=request, result=result)))
    return verdicts


def entries(state: bytes) -> int:
    content = json.loads(state)
    return max(len(rows) for rows in content.values() if isinstance(rows, list))


@pytest.mark.parametrize("kind", SPECS)
@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_any_traffic_gets_verdicts_and_stays_within_the_tables(kind: str, steps: list) -> None:
    detector = new(kind, learn_for=0.0, **SMALL)
    see(detector, steps)
    assert entries(detector.dump()) <= 2 * SMALL["max_tracked"]


@pytest.mark.parametrize("kind", SPECS)
@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_a_state_that_is_taken_up_and_dumped_is_the_same(kind: str, steps: list) -> None:
    detector = new(kind, learn_for=0.0)
    see(detector, steps)
    state = detector.dump()
    after = new(kind, learn_for=0.0)
    after.restore(state)
    assert after.dump() == state


@pytest.mark.parametrize("kind", SPECS)
@settings(deadline=None, max_examples=100)
@given(data=st.data(), steps=STEPS)
def test_a_changed_state_is_refused_or_works(kind: str, data: st.DataObject, steps: list) -> None:
    detector = new(kind)
    see(detector, steps)
    state = bytearray(detector.dump())
    for _ in range(data.draw(st.integers(1, 5))):
        state[data.draw(st.integers(0, len(state) - 1))] = data.draw(st.sampled_from(b'0123456789-.eE,[]{}"aN'))
    after, plain = new(kind), new(kind).dump()
    try:
        after.restore(bytes(state))
    except ValueError:
        assert after.dump() == plain
    see(after, steps)
    assert len(after.dump()) <= MOST


@pytest.mark.parametrize("kind", SPECS)
@settings(deadline=None, max_examples=100)
@given(
    state=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda part: json.dumps(part).encode())
)
def test_what_is_no_state_is_refused(kind: str, state: bytes) -> None:
    detector = new(kind)
    plain = detector.dump()
    with pytest.raises(ValueError, match="not usable"):
        detector.restore(state)
    assert detector.dump() == plain


def spoilt(part: object) -> Iterator[object]:
    """Yield a part of a state, each time with something else in one place."""
    if not isinstance(part, list):
        return
    for place, inner in enumerate(part):
        for other in ({"a": 1}, [], [[]], None, "x", True, 10**400, float("nan"), *spoilt(inner)):
            yield [*part[:place], other, *part[place + 1 :]]


@pytest.mark.parametrize("kind", SPECS)
def test_a_row_with_something_else_in_it_is_refused_or_works(kind: str) -> None:
    detector, plain = new(kind), new(kind).dump()
    for hour in range(30):
        request = access(datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=hour), f"a/{hour}", host=f"host-{hour}")
        see(detector, [(request, "ok"), (request.replace(allowed=False), "denied"), (request, "not_found")])
    content = json.loads(detector.dump())
    for section in [name for name, rows in content.items() if isinstance(rows, list) and rows]:
        for row in spoilt(content[section][-1]):
            after = new(kind)
            try:
                after.restore(json.dumps(content | {section: [*content[section][:-1], row]}).encode())
            except ValueError:
                assert after.dump() == plain
            see(after, [(request, "ok")])


@pytest.mark.parametrize("kind", SPECS)
def test_a_handler_of_a_signal_may_be_judged_in_the_middle_of_a_judgement(kind: str) -> None:
    program = f"""
import signal, time
from accesses import access, at
from strongroom_anomaly.plugin import strongroom_anomaly_detectors
[spec] = [spec for spec in strongroom_anomaly_detectors() if spec.name == {kind!r}]
detector = spec.open(spec.settings())
signal.signal(signal.SIGALRM, lambda *_: detector.judge(access(at(1, minutes=2), "b")))
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
request, until = access(at(1)), time.monotonic() + 0.5
while time.monotonic() < until:
    detector.judge(request)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    paths = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20, env=os.environ | {"PYTHONPATH": paths})


BREAK = "bad\nname\x1b[2J"


@pytest.mark.parametrize("kind", SPECS)
def test_a_principal_with_line_breaks_in_its_name_breaks_no_line(kind: str) -> None:
    low = {"names": 1, "at_least": 1, "distinct": 1, "denials": 1, "tolerance": 0, "unknown_names": True}
    detector = new(kind, learn_for=0.0, after_start=0.0, window=60.0, min_hours=1, rare=1.0, **low)
    steps = []
    for minute in range(600):
        moment = datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(days=minute // 30, minutes=minute % 30)
        moment, turns = (moment, 1) if minute < 599 else (moment + timedelta(hours=18), 300)
        for turn in range(turns):
            name = f"a/{minute}-{turn}" if kind != "rate" else "a"
            request = access(moment, name, BREAK, host=f"{BREAK}-{'abcdefghij'[minute // 60]}")
            steps.append((request.replace(allowed=kind != "denied-burst"), "ok"))
    found = [verdict for verdict in see(detector, steps) if verdict.reason]
    assert found
    assert any("bad\\nname" in verdict.reason for verdict in found)
    assert all(text.isprintable() for verdict in found for text in (verdict.reason, *verdict.evidence))


@pytest.mark.parametrize("kind", SPECS)
def test_no_name_is_in_a_state(kind: str) -> None:
    detector = new(kind, learn_for=0.0)
    request = access(datetime(2026, 1, 5, tzinfo=UTC), "marked-name", "marked-principal", host="marked-host")
    see(detector, [(request, "ok"), (request.replace(allowed=False), "denied")])
    assert b"marked" not in detector.dump()


@pytest.mark.parametrize("kind", SPECS)
def test_the_defaults_break_no_rule(kind: str) -> None:
    assert SPECS[kind].settings().problems() == []


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        (kind, setting, value)
        for kind, spec in SPECS.items()
        for setting, default in spec.settings().as_dict().items()
        for value in (-1,)
        if not isinstance(default, bool)
    ],
)
def test_a_setting_that_cannot_be_is_named(kind: str, setting: str, value: float) -> None:
    problems = SPECS[kind].settings(**{setting: value}).problems()
    assert [problem for problem in problems if problem.startswith(f"{setting} is ")]
