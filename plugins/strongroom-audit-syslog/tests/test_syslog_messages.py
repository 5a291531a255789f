"""What a message looks like, whatever the event holds."""

import json
import math

from datetime import UTC
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

import rfc5424

from strongroom.contracts import AuditWrite, Hits, Reading
from strongroom.errors import AuditError
from strongroom.model import AuditEvent, Principal, PrincipalSource
from strongroom.testing.audit import full_event, hits
from strongroom_audit_syslog.encoding import Encoder
from strongroom_audit_syslog.plugin import SyslogSettings

WIDE = 1024 * 1024

# One half of a pair as well: a file's name may bring it. Two would be another text in any JSON.
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["\ud800", 'a"] [x@1 y="z"]', "\n<86>1 - - - - - -", "\0", "\x7f\x85\u2028\u202e\ufeff", "]", '\\"', "\\"]
)
events = st.builds(
    AuditEvent,
    id=texts,
    timestamp=st.datetimes(timezones=st.just(UTC)).map(lambda when: when.isoformat(timespec="microseconds")),
    event=texts,
    **{
        name: st.none() | texts for name in ("key", "principal", "user", "host", "backend", "version", "rule", "detail")
    },
    result=texts,
    pid=st.none() | st.integers(),
    count=st.none() | st.integers(),
    cache_hit=st.booleans(),
    duration=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    trace_id=st.none() | texts,
)


def encoded(*found: AuditEvent, **settings: Any) -> list[bytes]:
    return Encoder(SyslogSettings(**({"address": "tls://logs.example"} | settings))).encode(found)


def parsed(event: AuditEvent, **settings: Any) -> rfc5424.Message:
    (raw,) = encoded(event, **settings)
    return rfc5424.parse(raw)


def test_a_message_has_every_fact_twice() -> None:
    """In the structured data for filters, and in the text as JSON with the names of the file's lines."""
    message = parsed(full_event())
    facts = rfc5424.expected(full_event())
    assert (message.facility, message.severity) == (10, 4)
    assert (message.time, message.host) == ("2026-01-01T12:00:00.123456Z", "host-1")
    assert (message.app, message.pid, message.kind) == ("strongroom", "4711", "get")
    assert json.loads(message.text) == facts
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    for name in ("timestamp", "event", "pid"):
        del shown[name]
    assert message.data == {"strongroom@32473": shown}


def test_settings_are_in_the_header() -> None:
    message = parsed(full_event(), facility="local3", app_name="vault", hostname="web-1.example", enterprise_id=64512)
    assert (message.facility, message.app, message.host) == (19, "vault", "web-1.example")
    assert list(message.data) == ["strongroom@64512"]


def test_what_is_not_known_is_a_dash() -> None:
    message = parsed(AuditEvent(id="1", timestamp="yesterday", event="opened"))
    assert (message.time, message.host, message.pid) == ("-", "-", "-")
    assert message.event.timestamp == "yesterday"


def test_a_time_with_another_offset_is_given_in_utc() -> None:
    message = parsed(AuditEvent(id="1", timestamp="2026-01-01T12:00:00.5+05:30", event="get"))
    assert message.time == "2026-01-01T06:30:00.500000Z"


@given(events)
def test_whatever_an_event_holds_comes_back(event: AuditEvent) -> None:
    (raw,) = encoded(event, max_bytes=WIDE)
    message = rfc5424.parse(raw)
    assert message.event == event
    assert all(character.isprintable() for character in raw.decode("utf-8").replace("\ufeff", "", 1))
    (data,) = message.data.values()
    for name, value in data.items():
        held = getattr(event, name)
        if isinstance(held, str) and held.isprintable():
            assert value == held


@given(st.lists(events, min_size=1, max_size=5))
def test_no_event_ends_another_ones_frame(found: list[AuditEvent]) -> None:
    messages = encoded(*found, max_bytes=WIDE)
    stream = b"".join(b"%d %b" % (len(message), message) for message in messages)
    assert rfc5424.counted(stream) == (messages, b"")
    assert rfc5424.lines(b"".join(message + b"\n" for message in messages)) == (messages, b"")
    assert rfc5424.events(messages) == found


@pytest.mark.parametrize(
    ("event", "result", "severity"),
    [
        ("get", "ok", 6),
        ("opened", "ok", 6),
        ("set", "ok", 5),
        ("set", "queued", 5),
        ("an event of tomorrow", "ok", 5),
        ("get", "not_found", 5),
        ("get", "version_not_found", 5),
        ("get", "denied", 4),
        ("get", "suspicious", 4),
        ("set", "connection_refused", 4),
        ("gap", "events_lost", 4),
        ("alert", "alert", 3),
        ("alert", "blocked", 1),
    ],
)
def test_severity_tells_what_needs_a_look(event: str, result: str, severity: int) -> None:
    made = AuditEvent(id="1", timestamp="2026-01-01T12:00:00+00:00", event=event, result=result)
    assert parsed(made.replace(event=event)).severity == severity


def test_hits_make_the_same_messages_as_their_events() -> None:
    for found in (hits("first"), hits("second", pid=2), hits('odd "run" ]\n')):
        encoder = Encoder(SyslogSettings(address="tls://logs.example"))
        assert [rfc5424.parse(raw) for raw in encoder.encode(found)] == [rfc5424.parse(raw) for raw in encoded(*found)]


@pytest.mark.parametrize("address", ["udp://logs.example", "tls://logs.example", "unix:///dev/log"])
def test_the_structured_data_is_left_out_where_the_message_would_be_too_long(address: str) -> None:
    """All of it is in the text, so nothing is lost."""
    longest = 2048 if address.startswith("udp") else 8192
    name = "n" * (longest // 2)
    (raw,) = encoded(full_event().replace(key=name), address=address)
    assert len(raw) <= longest
    message = rfc5424.parse(raw)
    assert message.event.key == name
    assert message.data == {"strongroom@32473": {"id": full_event().id}}


@pytest.mark.parametrize(("settings", "longest"), [({}, 8192), ({"max_bytes": 3000}, 3000)])
def test_what_does_not_fit_is_refused_and_never_cut(settings: dict[str, Any], longest: int) -> None:
    with pytest.raises(AuditError, match=f"more than {longest}: raise max_bytes") as caught:
        encoded(full_event().replace(detail="d" * longest), **settings)
    assert "ddd" not in str(caught.value)


@given(st.integers(1, 3000), st.sampled_from(["n", "\u00e9", "\U0001f511", "\n", "]"]))
def test_a_message_has_no_more_bytes_than_allowed(count: int, character: str) -> None:
    try:
        (raw,) = encoded(full_event().replace(detail=character * count), max_bytes=2048)
    except AuditError:
        assert count > 100
    else:
        assert len(raw) <= 2048
        assert rfc5424.parse(raw).event.detail == character * count


@pytest.mark.parametrize("character", ["p", "\u00e9", "\U0001f511", "\n"])
def test_a_hit_that_does_not_fit_is_shortened_so_that_it_can_be_told(character: str) -> None:
    """It was served, and no other hit could be told while it waits. That it was shortened shows."""
    reading = Reading(
        Principal(name=character * 4000, source=PrincipalSource.AS_PRINCIPAL), None, "n" * 512, "a backend"
    )
    found = Hits("run", 0.0, ("app", "host", 1), [(1, 10.0, reading, "7", None, ("cache", "ok"))])
    (raw,) = Encoder(SyslogSettings(address="udp://logs.example")).encode(found)
    assert len(raw) <= 2048
    told = rfc5424.parse(raw).event
    assert told.principal is not None
    assert told.principal.startswith(f"{character * 24}... (4000 characters, SHA-256 ")
    assert told.replace(principal=None) == found[0].replace(principal=None)


@given(st.text(st.sampled_from("p\u00e9\U0001f511\n\\\U000e0001"), min_size=1, max_size=4000), st.booleans())
def test_no_hit_makes_a_longer_message_than_allowed(text: str, plain: bool) -> None:
    """However many bytes its characters take up once they can be seen, in whichever fields."""
    principal = Principal(name=text, source=PrincipalSource.AS_PRINCIPAL)
    reading = Reading(principal, principal, "\\" * 512, "a backend" if plain else text)
    origin = ("user", "host", 1) if plain else (text, text, 2**22)
    found = Hits("f" * 32, 0.0, origin, [(2**32 - 1, 10.0, reading, text, "f" * 32, ("cache", "version_not_found"))])
    (raw,) = Encoder(SyslogSettings(address="udp://logs.example", hostname="h" * 255)).encode(found)
    assert len(raw) <= 2048
    rfc5424.parse(raw)


@pytest.mark.parametrize("fact", [math.nan, b"bytes", object()])
def test_what_json_cannot_express_is_refused(fact: Any) -> None:
    with pytest.raises(AuditError, match="JSON cannot express"):
        encoded(full_event().replace(duration=fact))


def test_what_is_refused_stops_the_whole_request(open_sink: Any) -> None:
    """Not one event of it is sent: nobody listens there, which would be another error."""
    sink = open_sink("tcp://127.0.0.1:9")
    with pytest.raises(AuditError, match="JSON cannot express"):
        sink.write(AuditWrite(events=(full_event(), full_event().replace(duration=math.nan))))
