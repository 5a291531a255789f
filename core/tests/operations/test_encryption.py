"""The way of encrypting and signing: decided, watched, recorded before anything is returned, and shown nowhere."""

from __future__ import annotations

import asyncio
import json

from collections.abc import Callable
from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strongroom

from keyed import KeyedBackend
from strongroom import AsyncSecretManager, SecretManager, SecretValue
from strongroom.contracts import Decision, Verdict
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    BackendError,
    BackendUnavailableError,
    ClosedError,
    InvalidNameError,
    InvalidValueError,
    SecretNotFoundError,
    SuspiciousActivityError,
    TamperedError,
    UnsupportedOperationError,
)
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom.testing.spans import Spans

KEY = "app/orders"
EVENTS = ["encrypt", "rewrap", "decrypt", "data_key", "sign", "verify_signature", "rotate_key"]
NEEDED = dict(zip(EVENTS, ["encrypt", "encrypt", "decrypt", "encrypt", "sign", "verify", "rotate"], strict=True))


@pytest.fixture
def keyed() -> KeyedBackend:
    return KeyedBackend()


@pytest.fixture
def manager(open_manager: Any, keyed: KeyedBackend) -> SecretManager:
    manager: SecretManager = open_manager(backends={"memory": keyed})
    return manager


def operations(manager: SecretManager, key: str = KEY, ciphertext: str = "x") -> dict[str, Callable[[], object]]:
    """Return each operation with a key, by its event."""
    return {
        "encrypt": lambda: manager.encrypt(key, "plaintext"),
        "rewrap": lambda: manager.rewrap(key, ciphertext),
        "decrypt": lambda: manager.decrypt(key, ciphertext),
        "data_key": lambda: manager.data_key(key),
        "sign": lambda: manager.sign(key, "message"),
        "verify_signature": lambda: manager.verify(key, "message", ciphertext),
        "rotate_key": lambda: manager.rotate_key(key),
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=80) | st.text(st.characters(codec="utf-8"), max_size=40),
    data=st.binary(max_size=20),
    rotations=st.integers(0, 2),
)
def test_a_value_comes_back_whatever_happens_to_its_key_meanwhile(
    manager: SecretManager, content: str | bytes, data: bytes, rotations: int
) -> None:
    ciphertext = manager.encrypt(KEY, content, associated_data=data)
    for _ in range(rotations):
        manager.rotate_key(KEY)
        ciphertext = manager.rewrap(KEY, ciphertext, associated_data=data)
    expected = content.encode() if isinstance(content, str) else content
    assert manager.decrypt(KEY, ciphertext, associated_data=data).reveal() == expected
    with pytest.raises(TamperedError):
        manager.decrypt(KEY, ciphertext, associated_data=data + b"\0")


def test_a_value_that_is_wrapped_already_is_encrypted_as_it_is(manager: SecretManager) -> None:
    assert manager.decrypt(KEY, manager.encrypt(KEY, SecretValue("grüße"))).reveal_text() == "grüße"


def test_a_signature_is_checked_for_text_and_bytes_alike(manager: SecretManager) -> None:
    signature = manager.sign(KEY, "grüße")
    assert manager.verify(KEY, "grüße".encode(), signature) is True
    assert manager.verify(KEY, SecretValue("grüße"), signature) is True
    assert manager.verify(KEY, "gruesse", signature) is False


def test_a_data_key_comes_with_what_it_is_had_again_from(manager: SecretManager) -> None:
    made = manager.data_key(KEY, size=16)
    assert manager.decrypt(KEY, made.ciphertext).reveal() == made.plaintext.reveal()
    assert (len(made.plaintext), made.key_version) == (16, "1")


def test_a_rotation_tells_the_new_version(manager: SecretManager) -> None:
    manager.encrypt(KEY, "")
    assert manager.rotate_key(KEY) == manager.rotate_key(KEY).replace(version="2")


def test_each_use_is_recorded_with_the_backends_words_and_nothing_else(
    manager: SecretManager, sink: Any, keyed: KeyedBackend
) -> None:
    marker = marker_value()
    ciphertext = manager.encrypt(KEY, marker, associated_data=b"associated-marker")
    manager.decrypt(KEY, ciphertext, associated_data=b"associated-marker")
    again = manager.rewrap(KEY, ciphertext, associated_data=b"associated-marker")
    signature = manager.sign(KEY, marker)
    manager.verify(KEY, marker, signature)
    wrapped = manager.data_key(KEY).ciphertext
    manager.rotate_key(KEY)
    events = [event for event in sink.events if event.event in EVENTS]
    assert [(event.event, event.phase, event.version, event.request_id) for event in events] == [
        ("encrypt", "outcome", "1", "request-1"),
        ("decrypt", "outcome", "1", "request-2"),
        ("rewrap", "outcome", "1", "request-3"),
        ("sign", "outcome", "1", "request-4"),
        ("verify_signature", "outcome", "1", "request-5"),
        ("data_key", "outcome", "1", "request-6"),
        ("rotate_key", "attempt", None, None),
        ("rotate_key", "outcome", "2", "request-7"),
    ]
    assert {(event.key, event.principal, event.backend, event.result) for event in events} == {
        (KEY, "tester", "memory", "ok")
    }
    assert all(event.duration is not None for event in events if event.phase == "outcome")
    recorded = json.dumps([event.as_dict() for event in sink.events])
    assert_hidden(marker, recorded, "the trail")
    for hidden in (ciphertext, again, signature, wrapped, "associated-marker"):
        assert hidden[-20:] not in recorded


def test_a_rotation_is_an_attempt_and_its_outcome_under_one_id(manager: SecretManager, sink: Any) -> None:
    manager.encrypt(KEY, "")
    manager.rotate_key(KEY)
    with pytest.raises(SecretNotFoundError):
        manager.rotate_key("app/other")
    found = [(event.phase, event.key, event.result) for event in sink.named("rotate_key")]
    assert found == [
        ("attempt", KEY, "ok"),
        ("outcome", KEY, "ok"),
        ("attempt", "app/other", "ok"),
        ("outcome", "app/other", "not_found"),
    ]
    first, second, *_ = sink.named("rotate_key")
    assert first.id == second.id


def test_that_a_signature_is_not_authentic_is_an_answer_and_in_the_trail(manager: SecretManager, sink: Any) -> None:
    manager.sign(KEY, "message")
    assert manager.verify(KEY, "message", "no signature") is False
    (event,) = sink.named("verify_signature")
    assert (event.result, event.detail) == ("ok", "the signature is not authentic")


@pytest.mark.parametrize("event", EVENTS)
def test_a_failure_is_recorded_with_its_code(
    manager: SecretManager, sink: Any, keyed: KeyedBackend, event: str
) -> None:
    keyed.error = BackendUnavailableError("no answer", code="timeout")
    with pytest.raises(BackendUnavailableError) as caught:
        operations(manager)[event]()
    assert caught.value.name == KEY
    assert caught.value.backend == "memory"
    last = sink.named(event)[-1]
    assert (last.phase, last.result, last.backend) == ("outcome", "timeout", "memory")


@pytest.mark.parametrize("event", EVENTS)
def test_what_a_plugin_raises_becomes_a_documented_error(
    manager: SecretManager, sink: Any, keyed: KeyedBackend, event: str
) -> None:
    keyed.error = RuntimeError("surprise")
    with pytest.raises(BackendError):
        operations(manager)[event]()
    assert sink.named(event)[-1].result == "backend_error"


@pytest.mark.parametrize("event", EVENTS)
def test_each_operation_needs_its_own_right(
    open_manager: Any, keyed: KeyedBackend, sink: Any, rule: Any, event: str
) -> None:
    others = [*sorted(set(NEEDED.values()) - {NEEDED[event]}), "read", "write", "list", "delete"]
    manager = open_manager(backends={"memory": keyed}, policies=[rule("tester", *others)])
    with pytest.raises(AccessDeniedError) as caught:
        operations(manager)[event]()
    assert f"may not {NEEDED[event]} {KEY}" in str(caught.value)
    assert keyed.asked == []
    assert [(one.event, one.result, one.rule) for one in sink.named(event)] == [(event, "denied", "default deny")]


@pytest.mark.parametrize("event", EVENTS)
def test_the_right_to_one_key_is_enough_for_it(open_manager: Any, keyed: KeyedBackend, rule: Any, event: str) -> None:
    maker = open_manager(backends={"memory": keyed})
    ciphertext = maker.encrypt(KEY, "plaintext")
    manager = open_manager(backends={"memory": keyed}, policies=[rule("tester", NEEDED[event], names=KEY)])
    operations(manager, ciphertext=ciphertext)[event]()
    with pytest.raises(AccessDeniedError):
        operations(manager, "app/other")[event]()


@pytest.mark.parametrize("event", EVENTS)
def test_a_detector_sees_each_use_and_may_stop_it(
    open_manager: Any, keyed: KeyedBackend, sink: Any, watched: Any, event: str
) -> None:
    manager = open_manager(backends={"memory": keyed}, anomaly=[{"type": "watch", "action": "block"}])
    watched.verdict = Verdict(decision=Decision.BLOCK, reason="odd")
    with pytest.raises(SuspiciousActivityError):
        operations(manager)[event]()
    assert [(access.action, access.name, access.allowed) for access in watched.seen] == [(NEEDED[event], KEY, True)]
    assert keyed.asked == []
    assert [one.result for one in sink.named(event)] == ["suspicious"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("key", ["", "/app", "app//key", "app/../key", "a\u202eb", 7])
def test_a_malformed_name_reaches_nobody_and_is_recorded(
    manager: SecretManager, keyed: KeyedBackend, sink: Any, event: str, key: Any
) -> None:
    with pytest.raises(InvalidNameError):
        operations(manager, key)[event]()
    assert keyed.asked == []
    assert [one.result for one in sink.named(event)] == ["invalid_name"]


def test_what_is_no_value_is_refused_and_recorded(manager: SecretManager, keyed: KeyedBackend, sink: Any) -> None:
    wrong: Any = ["s3cret"]
    attempts: dict[str, Callable[[], object]] = {
        "encrypt": lambda: manager.encrypt(KEY, wrong),
        "sign": lambda: manager.sign(KEY, wrong),
        "verify_signature": lambda: manager.verify(KEY, wrong, "signature"),
        "decrypt": lambda: manager.decrypt(KEY, b"s3cret"),  # type: ignore[arg-type]  # a mistake that is likely
        "rewrap": lambda: manager.rewrap(KEY, b"s3cret"),  # type: ignore[arg-type]  # the same
        "data_key": lambda: manager.data_key(KEY, size=31),
    }
    for event, attempt in attempts.items():
        with pytest.raises(InvalidValueError) as caught:
            attempt()
        assert "s3cret" not in str(caught.value)
        assert [one.result for one in sink.named(event)] == ["invalid_value"]
    for attempt in (
        lambda: manager.encrypt(KEY, "", associated_data="text"),  # type: ignore[arg-type]  # a mistake that is likely
        lambda: manager.verify(KEY, "message", b"signature"),  # type: ignore[arg-type]  # the same
        lambda: manager.data_key(KEY, size=32.0),  # type: ignore[arg-type]  # equal to a size, and none
    ):
        with pytest.raises(InvalidValueError):
            attempt()
    assert keyed.asked == []


@pytest.mark.parametrize("event", EVENTS)
def test_a_backend_without_keys_is_named(open_manager: Any, sink: Any, event: str) -> None:
    with pytest.raises(UnsupportedOperationError, match="keeps no named keys"):
        operations(open_manager())[event]()
    assert [(one.phase, one.result) for one in sink.named(event)] == [("outcome", "unsupported")]


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_is_returned_that_cannot_be_recorded(
    manager: SecretManager, sink: Any, keyed: KeyedBackend, event: str
) -> None:
    marker = marker_value()
    ciphertext = manager.encrypt(KEY, marker)
    sink.failing = True
    with pytest.raises(AuditError) as caught:
        operations(manager, ciphertext=ciphertext)[event]()
    assert_hidden(marker, report_of(caught.value, "strongroom"), "a frame")
    # A change is not even begun.
    assert "rotate_key" not in keyed.asked


def test_a_rotation_whose_outcome_cannot_be_recorded_says_that_it_was_made(
    manager: SecretManager, sink: Any, keyed: KeyedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.encrypt(KEY, "")
    rotate = keyed.rotate_key

    def rotated(request: Any) -> Any:
        sink.failing = True
        return rotate(request)

    monkeypatch.setattr(keyed, "rotate_key", rotated)
    with pytest.raises(AuditError) as caught:
        manager.rotate_key(KEY)
    assert caught.value.applied
    assert keyed.asked[-1] == "rotate_key"


def test_a_key_is_the_one_of_the_backend_that_its_name_is_routed_to(open_manager: Any) -> None:
    one, two = KeyedBackend(), KeyedBackend()
    manager = open_manager(backends={"one": one, "two": two}, backend="one", routes={"shared/": "two"})
    manager.encrypt("shared/key", "")
    assert (one.asked, two.asked) == ([], ["encrypt"])


def test_a_view_is_limited_by_whom_it_was_taken_on_from(
    open_manager: Any, keyed: KeyedBackend, sink: Any, rule: Any
) -> None:
    policies = [rule("tester", "sign"), rule("other", "*")]
    view = open_manager(backends={"memory": keyed}, policies=policies).as_principal("other")
    assert view.sign(KEY, "message")
    with pytest.raises(AccessDeniedError):
        view.encrypt(KEY, "plaintext")
    assert {(event.principal, event.on_behalf_of) for event in sink.events if event.event in EVENTS} == {
        ("other", "tester")
    }


def test_a_closed_manager_uses_no_key(manager: SecretManager, keyed: KeyedBackend) -> None:
    manager.close()
    for operation in operations(manager).values():
        with pytest.raises(ClosedError):
            operation()
    assert keyed.asked == []


def test_a_key_is_no_secret_of_that_name(manager: SecretManager) -> None:
    manager.set(KEY, "the secret")
    manager.encrypt(KEY, "plaintext")
    manager.rotate_key(KEY)
    assert manager.get(KEY).reveal_text() == "the secret"
    assert manager.list() == [KEY]


def test_a_rotation_takes_no_cached_secret_of_that_name_away(manager: SecretManager) -> None:
    """In an outage there may be no other copy."""
    manager.set(KEY, "the secret")
    manager.encrypt(KEY, "plaintext")
    manager.get(KEY)
    manager.rotate_key(KEY)
    manager.get(KEY)
    assert manager.stats().hits == 1


def test_no_plaintext_in_spans_and_local_variables(open_manager: Any, keyed: KeyedBackend) -> None:
    spans, marker = Spans(), marker_value()
    manager = open_manager(backends={"memory": keyed}, tracer_provider=spans.provider)
    ciphertext = manager.encrypt(KEY, marker)
    manager.decrypt(KEY, ciphertext)
    signature = manager.sign(KEY, marker)
    names = [span.name for span in spans.finished() if "audit" not in span.name]
    assert names == ["strongroom.encrypt", "strongroom.decrypt", "strongroom.sign"]
    assert_hidden(marker, spans.text(), "a span")
    for hidden in (KEY, ciphertext, signature):
        assert hidden not in spans.text()
    keyed.error = BackendUnavailableError("no answer")
    for attempt in (
        lambda: manager.encrypt(KEY, marker),
        lambda: manager.sign(KEY, marker),
        lambda: manager.verify(KEY, marker, signature),
    ):
        with pytest.raises(BackendUnavailableError) as caught:
            attempt()
        assert_hidden(marker, report_of(caught.value, "strongroom"), "a frame of the core")


def taking(manager: Any, text: Any) -> dict[str, Callable[[], Any]]:
    """Return what takes a ciphertext or a signature, with something in its place."""
    return {
        "decrypt": lambda: manager.decrypt(KEY, text),
        "rewrap": lambda: manager.rewrap(KEY, text),
        "verify": lambda: manager.verify(KEY, "message", text),
    }


@pytest.mark.parametrize("event", ["decrypt", "rewrap", "verify"])
@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_plaintext_that_is_passed_on_for_a_ciphertext_shows_nowhere(
    manager: SecretManager, keyed: KeyedBackend, event: str, in_bytes: bool
) -> None:
    """As happens where some rows of a table are encrypted already, and others not yet."""
    marker = marker_value()
    keyed.error = BackendUnavailableError("no answer")
    with pytest.raises(InvalidValueError if in_bytes else BackendUnavailableError) as caught:
        taking(manager, marker.encode() if in_bytes else marker)[event]()
    assert_hidden(marker, report_of(caught.value, "strongroom"), "a frame of the core")


def test_what_a_backend_is_given_for_a_ciphertext_is_that_text_and_shows_not_even_in_part(
    manager: SecretManager, keyed: KeyedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some reports cut a long text off before they show it."""
    marker = marker_value()
    texts: list[str] = []
    monkeypatch.setattr(keyed, "verify_signature", lambda request: texts.append(request.signature))
    with pytest.raises(BackendError):
        manager.verify(KEY, "message", marker)
    (text,) = texts
    assert (text, json.dumps(text), f"{text}") == (marker, json.dumps(marker), marker)
    assert_hidden(marker, f"{text!r} {text[:30]!r} {text[3]!r}", "a report")


@pytest.mark.parametrize("event", ["encrypt", "rewrap", "data_key", "sign"])
def test_what_cannot_be_recorded_is_in_no_local_variable_either(
    manager: SecretManager, sink: Any, keyed: KeyedBackend, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    ciphertext = manager.encrypt(KEY, "plaintext")
    made: list[str] = []
    function = getattr(keyed, event)

    def noted(request: Any) -> Any:
        result = function(request)
        made.append(result.signature if event == "sign" else result.ciphertext)
        return result

    monkeypatch.setattr(keyed, event, noted)
    sink.failing = True
    with pytest.raises(AuditError) as caught:
        operations(manager, ciphertext=ciphertext)[event]()
    assert made
    assert made[0] not in report_of(caught.value, "strongroom")


async def _all(manager: AsyncSecretManager) -> list[object]:
    ciphertext = await manager.encrypt(KEY, "plaintext", associated_data=b"row")
    rotated = await manager.rotate_key(KEY)
    again = await manager.rewrap(KEY, ciphertext, associated_data=b"row")
    plain = await manager.decrypt(KEY, again, associated_data=b"row")
    signature = await manager.sign(KEY, b"message")
    made = await manager.data_key(KEY, size=64)
    return [
        plain.reveal_text(),
        rotated.version,
        await manager.verify(KEY, "message", signature),
        await manager.verify(KEY, "other", signature),
        len(made.plaintext),
    ]


async def _all_and_what_fails(keyed: KeyedBackend, sink: Any) -> None:
    async with strongroom.open_async({"audit": "none"}, backends={"memory": keyed}, sinks=(sink,)) as manager:
        assert await _all(manager) == ["plaintext", "2", True, False, 64]
        with pytest.raises(TamperedError):
            await manager.decrypt(KEY, await manager.encrypt(KEY, ""), associated_data=b"row")
        marker = marker_value()
        keyed.error = BackendUnavailableError("no answer")
        wrong = [attempt() for attempt in taking(manager, marker).values()]
        for attempt in (
            manager.encrypt(KEY, marker),
            manager.sign(KEY, marker),
            manager.verify(KEY, marker, "s"),
            *wrong,
        ):
            with pytest.raises(BackendUnavailableError) as caught:
                await attempt
            assert_hidden(marker, report_of(caught.value, "strongroom"), "a frame of the core")


def test_the_manager_for_asyncio_does_the_same(keyed: KeyedBackend, sink: Any) -> None:
    asyncio.run(_all_and_what_fails(keyed, sink))
